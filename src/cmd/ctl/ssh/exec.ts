/** `edge ctl exec NODE… -- COMMAND`: a command on one node, with its streams, or on many at once. */
import { UsageError } from '../../../lib/errors.ts';
import { durationOption, integerOption } from '../../../lib/options.ts';
import { STATUS_BROKEN } from '../../../ssh/channel.ts';
import { ExitStatus } from '../../exit.ts';
import { addOptions, readOptions } from '../../options.ts';
import { failureText } from '../failure.ts';
import { createVerb, runVerb } from '../verb.ts';
import { commandText, splitCommand } from './command-line.ts';
import { execOnMany, selectNodes } from './exec-many.ts';
import { execOnNode } from './exec-one.ts';
import { createAccess } from './login.ts';
import { addSessionOptions, localUser, parseNode } from './settings.ts';

const HELP = `
Examples:
  edge ctl exec root@node-7 -- systemctl status edge-sidecar
  edge ctl exec node-7 -- 'df -h | grep -v tmpfs'          # one word alone is for the shell
  edge ctl exec --all --parallel 20 --timeout 1m -- uptime
  edge ctl exec -l site=north --user root -- apt-get -y upgrade

On one node streams and exit status are the command's. On many, each line begins with the node's name, stdin is empty,
a summary follows on stderr, and the exit status is the highest of all. 124 is a timeout, 255 a node that could not be
reached.`;

const execOptions = {
  parallel: integerOption({ description: 'nodes at a time', default: 10, min: 1, max: 256 }),
  timeout: durationOption({ description: 'longest time for each node; 0 is no limit', default: '0' }),
};

/** Runs the verb; ends with the exit status of the command. */
export async function run(argv: readonly string[]): Promise<void> {
  const { own, command: words, hasCommand } = splitCommand(argv);
  const command = createVerb('exec [USER@]NODE… -- COMMAND…', 'Run a command on one node, or on many.')
    .argument('[NODE...]', 'names or ids of nodes')
    .option('-u, --user <USER>', 'who to be on the nodes (default the user here)')
    .option('-l, --selector <QUERY>', 'the nodes whose NodeMaintenance has these labels')
    .option('--all', 'all nodes')
    .option('--skip-offline', 'leave out nodes that are offline, instead of counting them as failed')
    .option('-t, --tty', 'give the command a terminal; one node only')
    .option('-i, --stdin', 'taken for compatibility with kubectl; on one node stdin is always passed on')
    .addHelpText('after', HELP);
  addSessionOptions(command, '--identity');
  addOptions(command, execOptions);
  await runVerb(command, own, async (session, names) => {
    const flags = command.opts<{
      user?: string;
      selector?: string;
      all?: boolean;
      skipOffline?: boolean;
      tty?: boolean;
    }>();
    if (!hasCommand || words.length === 0) {
      throw new UsageError('exec: there is no command', {
        hint: 'it stands behind "--", as in: edge ctl exec NODE -- uptime',
      });
    }
    const text = commandText(words);
    const settings = readOptions(command, execOptions);
    const isSelected = flags.all === true || flags.selector !== undefined;
    if (isSelected && names.length > 0) throw new UsageError('exec: either nodes, or -l or --all');
    if (!isSelected && names.length === 0)
      throw new UsageError('exec: which node?', { hint: 'give names, -l QUERY or --all' });
    const access = await createAccess(command, session);
    const [only] = names;
    if (!isSelected && names.length === 1 && only !== undefined) {
      const { user = flags.user ?? localUser(), node } = parseNode(only);
      const request = { node, user, text, hasTerminal: flags.tty === true, timeoutMs: settings.timeout };
      throw new ExitStatus(
        await execOnNode(access, request).catch((err: unknown) => {
          if (err instanceof UsageError) throw err;
          session.warn(failureText(err));
          return STATUS_BROKEN;
        }),
      );
    }
    if (flags.tty === true) throw new UsageError('--tty: a terminal is for one node');
    const nodes = isSelected
      ? await selectNodes(access, flags.selector, flags.skipOffline === true)
      : names.map(parseNode);
    if (nodes.length === 0) throw new UsageError('exec: no node matches');
    throw new ExitStatus(
      await execOnMany(
        access,
        nodes.map(({ user, node }) => ({ node, user: user ?? flags.user ?? localUser() })),
        { text, parallel: settings.parallel, timeoutMs: settings.timeout },
      ),
    );
  });
}
