/** `edge ctl version`: the versions of this program and of the API server. */
import { readDocument } from './document.ts';
import { commit, protocolVersion, version } from '../../lib/build-info.ts';
import { UsageError } from '../../lib/errors.ts';
import { formatYaml } from '../../lib/yaml.ts';
import { createVerb, runVerb } from './verb.ts';

interface ServerVersion {
  gitVersion?: string;
  gitCommit?: string;
}

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('version', 'Print the versions of program and server.')
    .option('--client', 'only this program; asks no server')
    .option('-o, --output <FORMAT>', 'json or yaml');
  await runVerb(command, argv, async ({ client, print }) => {
    const { client: isClientOnly, output } = command.opts<{ client?: boolean; output?: string }>();
    if (output !== undefined && output !== 'json' && output !== 'yaml')
      throw new UsageError("--output must be 'yaml' or 'json'");
    const clientVersion = {
      gitVersion: `v${version}`,
      gitCommit: commit,
      frpProtocol: protocolVersion,
      nodeVersion: process.version,
    };
    const lines = [`Client Version: v${version}`];
    const show = (server: ServerVersion | undefined): Promise<void> => {
      const all = { clientVersion, ...(server === undefined ? {} : { serverVersion: server }) };
      if (output === 'json') return print(`${JSON.stringify(all, undefined, 2)}\n`);
      if (output === 'yaml') return print(formatYaml(all));
      if (server !== undefined) lines.push(`Server Version: ${server.gitVersion ?? 'unknown'}`);
      return print(`${lines.join('\n')}\n`);
    };
    if (isClientOnly === true) {
      await show(undefined);
      return;
    }
    let server: ServerVersion;
    try {
      server = await readDocument<ServerVersion>(client, '/version');
    } catch (err) {
      await show(undefined); // the client's version is known whatever the server does
      throw err;
    }
    await show(server);
  });
}
