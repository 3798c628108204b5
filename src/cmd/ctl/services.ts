/** `edge ctl services`: every service that a Router knows, its providers, and where the sidecar of this host has it. */
import { ROUTERS } from '../../api/edge.ts';
import type { Router } from '../../api/gen/types.ts';
import { errorCode, UsageError } from '../../lib/errors.ts';
import { formatYaml } from '../../lib/yaml.ts';
import type { SidecarStatus } from '../../sidecar/status.ts';
import { ColumnWriter } from './printers/columns.ts';
import { serviceRows, serviceTable } from './service-rows.ts';
import { askSidecar, SIDECAR_ADMIN } from './sidecar-admin.ts';
import { createVerb, runVerb } from './verb.ts';

const FORMATS = ['json', 'yaml', 'wide'];
const SIDECAR_TIMEOUT_MS = 1000;

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('services [NAME[.NAMESPACE]]', 'Show the services of all Routers.')
    .argument('[NAME]', 'only this one')
    .option('--sidecar <URL>', 'admin address of the sidecar', SIDECAR_ADMIN)
    .option('-o, --output <FORMAT>', FORMATS.join(', '))
    .allowExcessArguments(false);
  await runVerb(command, argv, async ({ client, print, warn }, [only]) => {
    const { output, sidecar } = command.opts<{ output?: string; sidecar: string }>();
    if (output !== undefined && !FORMATS.includes(output))
      throw new UsageError(`--output: "${output}" is not one of ${FORMATS.join(', ')}`);
    const [routers, status] = await Promise.all([client.list<Router>(ROUTERS), statusOf(sidecar)]);
    const rows = serviceRows(routers.items, status, only);
    if (output === 'json') await print(`${JSON.stringify(rows, undefined, 2)}\n`);
    else if (output === 'yaml') await print(formatYaml(rows));
    else if (rows.length === 0) warn('No services found; SIDECAR_EXPORTED_SERVICES publishes one');
    else await print(new ColumnWriter().format(serviceTable(rows, output === 'wide')));
  });
}

/** Not every host that has an API server has a sidecar. */
async function statusOf(url: string): Promise<SidecarStatus | undefined> {
  try {
    return await askSidecar<SidecarStatus>(url, '/status', SIDECAR_TIMEOUT_MS);
  } catch (err) {
    if (errorCode(err) === 'EDGE_ERR_CTL_NO_SIDECAR') return undefined;
    throw err;
  }
}
