/** `edge ctl cp`: copies files to nodes, from nodes, and from one node to another. */
import type { Command } from 'commander';
import { systemClock } from '../../../lib/clock.ts';
import { UsageError } from '../../../lib/errors.ts';
import { copyTree } from '../../../ssh/files/copy-tree.ts';
import type { CopyResult, Place } from '../../../ssh/files/copy-tree.ts';
import { createLocalFiles } from '../../../ssh/files/local-files.ts';
import { createRemoteFiles } from '../../../ssh/files/remote-files.ts';
import type { FileTree } from '../../../ssh/files/file-tree.ts';
import { EXIT_FAILURE, EXIT_OK, ExitStatus } from '../../exit.ts';
import { createVerb, runVerb } from '../verb.ts';
import type { Session } from '../verb.ts';
import { audited } from './audited.ts';
import { parsePlace } from './copy-spec.ts';
import type { CopyPlace } from './copy-spec.ts';
import { onInterruption, statusOfSignal } from './interruption.ts';
import { createAccess } from './login.ts';
import type { Access, NodeSession } from './login.ts';
import { createProgress, formatBytes } from './progress.ts';
import { addSessionOptions, localUser } from './settings.ts';

const HELP = `
Examples:
  edge ctl cp app.tar.gz root@node-7:/opt/
  edge ctl cp -r node-7:/var/log/app ./logs        # of each file the whole, or what was there before
  edge ctl cp node-7:/etc/app.conf node-8:/etc/    # from node to node, through this machine

A path without a node is here; "./a:b" is, too. Paths on a node begin in the home directory. Links are followed, but
those to directories within a tree, which are left out.`;

/** Time to remove unfinished files when a copy is interrupted, milliseconds. */
const LAST_ANSWERS_MS = 10_000;

interface Flags {
  recursive?: boolean;
  preserve?: boolean;
  quiet?: boolean;
  user?: string;
}

/** Runs the verb; ends with 1 when something was not copied. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('cp SOURCE… TARGET', 'Copy files to and from nodes.')
    .argument('<PATH...>', '[USER@]NODE:PATH, or a path here')
    .option('-r, --recursive', 'copy directories with what is in them')
    .option('-p, --preserve', 'keep modes and times')
    .option('-q, --quiet', 'show no progress')
    .option('-u, --user <USER>', 'who to be on the nodes (default the user here)')
    .addHelpText('after', HELP);
  addSessionOptions(command);
  await runVerb(command, argv, async (session, args) => {
    const flags = command.opts<Flags>();
    const places = args.map(parsePlace);
    const target = places.pop();
    if (target === undefined || places.length === 0) throw new UsageError('cp: wanted SOURCE… TARGET');
    if ([...places, target].every(({ node }) => node === undefined))
      throw new UsageError('cp: no path names a node', { hint: 'as in: edge ctl cp FILE NODE:PATH' });
    throw new ExitStatus(
      await copy(command, session, { sources: places, target, flags, text: args.join(' ') }),
    );
  });
}

interface Request {
  sources: readonly CopyPlace[];
  target: CopyPlace;
  flags: Flags;
  text: string;
}

async function copy(command: Command, session: Session, request: Request): Promise<number> {
  const access = await createAccess(command, session);
  const abort = new AbortController();
  let interrupted: number | undefined;
  const interruption = onInterruption((signal) => {
    interrupted = statusOfSignal(signal);
    abort.abort();
  });
  try {
    const { problems } = await withNodes(access, request, abort, (trees) =>
      transfer(request, trees, abort.signal),
    );
    return problems === 0 ? EXIT_OK : EXIT_FAILURE;
  } catch (err) {
    if (interrupted !== undefined) return interrupted;
    throw abort.signal.aborted ? abort.signal.reason : err;
  } finally {
    interruption.stop();
  }
}

type Trees = (place: CopyPlace) => FileTree;

async function transfer(
  { sources, target, flags }: Request,
  trees: Trees,
  signal: AbortSignal,
): Promise<CopyResult> {
  const isQuiet = flags.quiet === true;
  const progress = createProgress(process.stderr, systemClock, { isQuiet });
  const startedAt = performance.now();
  const placeOf = (place: CopyPlace): Place => ({ tree: trees(place), path: place.path });
  try {
    const result = await copyTree(sources.map(placeOf), placeOf(target), {
      isRecursive: flags.recursive === true,
      isPreserving: flags.preserve === true,
      umask: process.umask(),
      signal,
      observer: progress,
    });
    progress.stop();
    if (process.stderr.isTTY && !isQuiet)
      process.stderr.write(`${resultText(result, performance.now() - startedAt)}\n`);
    return result;
  } finally {
    progress.stop();
  }
}

function resultText({ files, bytes }: CopyResult, elapsedMs: number): string {
  const rate = formatBytes((bytes / Math.max(elapsedMs, 1)) * 1000);
  return `${files} ${files === 1 ? 'file' : 'files'}, ${formatBytes(bytes)} in ${(elapsedMs / 1000).toFixed(1)}s (${rate}/s)`;
}

/** Logs in to every node of the request, one after the other, for the time of the work; each gets its audit line. */
async function withNodes(
  access: Access,
  request: Request,
  abort: AbortController,
  work: (trees: Trees) => Promise<CopyResult>,
): Promise<CopyResult> {
  const { sources, target, flags, text } = request;
  const places = [...sources, target].filter((place) => place.node !== undefined);
  const userOf = ({ user }: CopyPlace): string => user ?? flags.user ?? localUser();
  const idOf = (place: CopyPlace): string => `${userOf(place)}@${place.node ?? ''}`;
  const logins = new Map(places.map((place) => [idOf(place), place]));
  const local = createLocalFiles(Math.random);
  const remote = new Map<string, FileTree>();
  const trees: Trees = (place) => (place.node === undefined ? local : (remote.get(idOf(place)) ?? local));

  const open = async ([entry, ...others]: readonly [string, CopyPlace][]): Promise<CopyResult> => {
    if (entry === undefined) return work(trees);
    const [id, place] = entry;
    const node = place.node ?? '';
    const user = userOf(place);
    const end = await audited(access, { kind: 'copy', node, user, command: `cp ${text}` }, async () => {
      const login = await access.open(node, { user, signal: abort.signal });
      try {
        watch(login, abort);
        const { closed } = login.ssh;
        remote.set(id, createRemoteFiles(await login.ssh.sftp(), { node, closed, random: Math.random }));
        const result = await open(others);
        const [bytesIn, bytesOut] = idOf(target) === id ? [0, result.bytes] : [result.bytes, 0];
        return { result, exitStatus: result.problems === 0 ? EXIT_OK : EXIT_FAILURE, bytesIn, bytesOut };
      } finally {
        await login.close();
      }
    });
    return end.result;
  };
  return open([...logins]);
}

/** A node that goes away ends the whole copy, with its reason; a copy that ends waits so long for what a node has to answer. */
function watch({ ssh }: NodeSession, abort: AbortController): void {
  abort.signal.addEventListener('abort', () => systemClock.after(LAST_ANSWERS_MS, () => ssh.close()), {
    once: true,
  });
  void ssh.closed.then((broken) => {
    if (broken !== undefined) abort.abort(broken);
  });
}
