/** `edge ctl join-token create`: a short-lived secret, good for one node, that also pins this node's authority. */
import { parseDuration } from '../../lib/options.ts';
import { UsageError } from '../../lib/errors.ts';
import { call } from './exchange.ts';
import { createVerb, runVerb } from './verb.ts';

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('join-token create', 'Make a token with which another node joins this one.')
    .argument('<ACTION>', 'create')
    .option('--ttl <DURATION>', 'how long it may wait for its use (default 1h, at most 168h)')
    .option(
      '--role <ROLE>',
      'what the joining node may do: syncer, sidecar, router or cloud (default syncer)',
    )
    .option('--node <NAME>', 'the only node that may use it (default any)')
    .option('-o, --output <FORMAT>', 'json, or token for the bare token');
  await runVerb(command, argv, async ({ access, settings, print }, [action]) => {
    if (action !== 'create') throw new UsageError(`join-token: "${action ?? ''}" is not create`);
    const flags = command.opts<{ ttl?: string; role?: string; node?: string; output?: string }>();
    const target = await access();
    const ttlSeconds =
      flags.ttl === undefined ? undefined : Math.round(parseDuration(flags.ttl, '--ttl') / 1000);
    const wanted = { ttlSeconds, role: flags.role, node: flags.node };
    const path = '/edge/v1/jointokens';
    const made = await call<{ token: string; expires: string; role: string }>(
      target,
      'POST',
      path,
      settings.requestTimeout,
      wanted,
    );
    if (flags.output === 'token') await print(`${made.token}\n`);
    else if (flags.output === 'json') await print(`${JSON.stringify(made, undefined, 2)}\n`);
    else {
      await print(
        `good for one ${made.role} until ${made.expires}; on the other node run:\n\n  edge ctl join --server ${target.server} --token ${made.token}\n`,
      );
    }
  });
}
