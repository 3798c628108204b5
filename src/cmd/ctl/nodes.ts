/** `edge ctl nodes`: which nodes behind NAT can be reached, since when and through which Router. */
import { NODE_MAINTENANCES, ROUTERS } from '../../api/edge.ts';
import type { NodeMaintenance, Router } from '../../api/gen/types.ts';
import { UsageError } from '../../lib/errors.ts';
import { formatYaml } from '../../lib/yaml.ts';
import { nodeRows, nodeTable } from './node-rows.ts';
import { ColumnWriter } from './printers/columns.ts';
import { createVerb, runVerb } from './verb.ts';

const FORMATS = ['json', 'yaml', 'wide'];

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('nodes', 'Show the nodes that can be reached for maintenance.')
    .option('-o, --output <FORMAT>', FORMATS.join(', '))
    .allowExcessArguments(false);
  await runVerb(command, argv, async ({ client, print, warn }) => {
    const { output } = command.opts<{ output?: string }>();
    if (output !== undefined && !FORMATS.includes(output))
      throw new UsageError(`--output: "${output}" is not one of ${FORMATS.join(', ')}`);
    const [objects, routers] = await Promise.all([
      client.list<NodeMaintenance>(NODE_MAINTENANCES),
      client.list<Router>(ROUTERS),
    ]);
    const nowMs = Date.now();
    const rows = nodeRows(objects.items, routers.items, nowMs);
    if (output === 'json') await print(`${JSON.stringify(rows, undefined, 2)}\n`);
    else if (output === 'yaml') await print(formatYaml(rows));
    else if (rows.length === 0) warn('No nodes found; start "edge sidecar --maintenance" on them');
    else await print(new ColumnWriter().format(nodeTable(rows, output === 'wide', nowMs)));
  });
}
