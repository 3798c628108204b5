/** `edge ctl ssh NODE`: a terminal on a node, a command there, forwarded ports. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { systemClock } from '../../../lib/clock.ts';
import { UsageError } from '../../../lib/errors.ts';
import { exitStatusOf, STATUS_BROKEN } from '../../../ssh/channel.ts';
import type { SshChannel } from '../../../ssh/channel.ts';
import { ExitStatus } from '../../exit.ts';
import { failureText } from '../failure.ts';
import { collect, createVerb, runVerb } from '../verb.ts';
import type { Session } from '../verb.ts';
import { audited } from './audited.ts';
import type { AuditEnd } from './audited.ts';
import { splitCommand } from './command-line.ts';
import { forwardDynamic, forwardLocal, forwardRemote } from './forwarding.ts';
import type { ForwardingDeps } from './forwarding.ts';
import { parseDynamic, parseForward } from './forward-spec.ts';
import { onInterruption, STATUS_BROKEN_PIPE, statusOfSignal } from './interruption.ts';
import type { LocalListener } from './local-listener.ts';
import { createAccess } from './login.ts';
import type { Access, NodeSession } from './login.ts';
import { createRecorder } from './recorder.ts';
import { addSessionOptions, localUser, parseNode } from './settings.ts';
import { runWithStreams } from './streams.ts';
import { runAtTerminal, sizeOf } from './terminal.ts';
import type { LocalTerminal } from './terminal.ts';

const HELP = `
Examples:
  edge ctl ssh node-7                         # a shell, as the user you are here
  edge ctl ssh root@node-7 -- journalctl -f   # a command; its words are joined, as ssh does
  edge ctl ssh node-7 -N -L 8080:127.0.0.1:80 -D 1080

The exit status is the command's, 255 when there is no session. "~." at the beginning of a line ends a session that
hangs, "~?" lists the other escapes.`;

interface Flags {
  loginName?: string;
  tty?: boolean;
  command?: boolean;
  forwardAgent?: boolean;
  local?: string[];
  remote?: string[];
  dynamic?: string[];
  record?: string;
}

/** Runs the verb; ends with the exit status of what ran on the node. */
export async function run(argv: readonly string[]): Promise<void> {
  const { own, command: words } = splitCommand(argv);
  const command = createVerb(
    'ssh [USER@]NODE [-- COMMAND…]',
    'Open a terminal on a node, or run a command there.',
  )
    .argument('<NODE>', 'name or id of the node')
    .argument('[COMMAND...]')
    .option('-l, --login-name <USER>', 'who to be on the node (default the user here)')
    .option('-t, --tty', 'give the command a terminal')
    .option('-T, --no-tty', 'give the shell no terminal')
    .option('-N, --no-command', 'run nothing, only forward ports')
    .option('-A, --forward-agent', 'let the node use the ssh-agent of this side')
    .option(
      '-L, --local <SPEC>',
      '[BIND:]PORT:HOST:HOSTPORT, a port here that leads there; repeatable',
      collect,
    )
    .option(
      '-R, --remote <SPEC>',
      '[BIND:]PORT:HOST:HOSTPORT, a port there that leads here; repeatable',
      collect,
    )
    .option(
      '-D, --dynamic <SPEC>',
      '[BIND:]PORT, a SOCKS 5 proxy here whose connections leave there; repeatable',
      collect,
    )
    .option('--record <FILE>', 'record the terminal in a new file (asciicast v2)')
    .addHelpText('after', HELP);
  addSessionOptions(command);
  await runVerb(command, own, async (session, [name, ...rest]) => {
    if (name === undefined) throw new UsageError('ssh: which node?');
    throw new ExitStatus(await sshTo(command, session, name, [...rest, ...words]));
  });
}

async function sshTo(
  command: Command,
  session: Session,
  name: string,
  words: readonly string[],
): Promise<number> {
  const flags = command.opts<Flags>();
  const plan = planOf(flags, words);
  const access = await createAccess(command, session);
  const { user, node } = parseNode(name);
  const asUser = flags.loginName ?? user ?? localUser();
  const forwardedAgent = flags.forwardAgent === true ? requireAgent() : undefined;
  const start = { kind: plan.kind, node, user: asUser, command: plan.text };
  try {
    const end = await audited(access, start, async () => {
      const login = await access.open(node, {
        user: asUser,
        ...(forwardedAgent === undefined ? {} : { forwardedAgent }),
      });
      try {
        return await useSession(login, plan, flags, access, session);
      } finally {
        await login.close();
      }
    });
    return end.exitStatus ?? STATUS_BROKEN;
  } catch (err) {
    if (err instanceof UsageError) throw err;
    session.warn(failureText(err));
    return STATUS_BROKEN;
  }
}

/** What is to be done, checked before anybody is dialled. */
interface Plan {
  kind: 'shell' | 'exec' | 'forward';
  /** The command; for a forwarding what is forwarded. */
  text: string | undefined;
  terminal: LocalTerminal | undefined;
  hasTerminal: boolean;
  forwards: (deps: ForwardingDeps) => Promise<LocalListener[]>;
}

function planOf(flags: Flags, words: readonly string[]): Plan {
  const { local = [], remote = [], dynamic = [] } = flags;
  const locals = local.map((text) => parseForward(text, '-L'));
  const remotes = remote.map((text) => parseForward(text, '-R'));
  const dynamics = dynamic.map((text) => parseDynamic(text, '-D'));
  const isForward = flags.command === false;
  if (isForward && words.length > 0) throw new UsageError('-N: there is a command');
  const isTty = process.stdin.isTTY;
  const hasTerminal = !isForward && (flags.tty ?? (words.length === 0 && isTty));
  const terminal = hasTerminal && isTty ? { input: process.stdin, output: process.stdout } : undefined;
  if (flags.record !== undefined && terminal === undefined)
    throw new UsageError('--record: there is no terminal to record');
  if (flags.record !== undefined && existsSync(flags.record))
    throw new UsageError(`--record: ${flags.record}: file exists`);
  const described = [
    ...local.map((text) => `-L ${text}`),
    ...remote.map((text) => `-R ${text}`),
    ...dynamic.map((text) => `-D ${text}`),
  ].join(' ');
  return {
    kind: isForward ? 'forward' : words.length > 0 ? 'exec' : 'shell',
    text: words.length > 0 ? words.join(' ') : described === '' ? undefined : described,
    terminal,
    hasTerminal,
    async forwards(deps) {
      const listeners: LocalListener[] = [];
      const opened = (listener: LocalListener, flag: string, port: number): void => {
        listeners.push(listener);
        if (port === 0) deps.warn(`${flag} listens on ${listener.address}`);
      };
      for (const forward of locals) opened(await forwardLocal(forward, deps), '-L', forward.listen.port);
      for (const listen of dynamics) opened(await forwardDynamic(listen, deps), '-D', listen.port);
      for (const forward of remotes) {
        const port = await forwardRemote(forward, deps);
        if (forward.listen.port === 0)
          deps.warn(`Allocated port ${port} for remote forward to ${forward.host}:${forward.port}`);
      }
      return listeners;
    },
  };
}

async function useSession(
  login: NodeSession,
  plan: Plan,
  flags: Flags,
  access: Access,
  { warn }: Session,
): Promise<AuditEnd> {
  // a terminal in raw mode needs the carriage return
  const tell = (line: string): void => warn(plan.terminal === undefined ? line : `${line}\r`);
  const deps = { session: login.ssh, clock: systemClock, warn: tell };
  const listeners = await plan.forwards(deps);
  let interrupted: number | undefined;
  let channel: SshChannel | undefined;
  const interruption = onInterruption((signal) => {
    interrupted = statusOfSignal(signal);
    channel?.signal(signal.slice(3));
    login.ssh.close();
  });
  try {
    if (plan.kind === 'forward') {
      const broken = await login.ssh.closed;
      if (broken !== undefined) throw broken;
      return { exitStatus: interrupted ?? 0 };
    }
    const options = {
      env: localeVariables(process.env),
      ...(plan.hasTerminal ? { terminal: { ...sizeOfStdout(), term: process.env['TERM'] ?? 'xterm' } } : {}),
    };
    channel =
      plan.kind === 'exec' ? await login.ssh.exec(plan.text ?? '', options) : await login.ssh.shell(options);
    const end = await (plan.terminal === undefined
      ? runPlain(channel, access)
      : runTerminal(channel, plan.terminal, login, flags, access, tell));
    return await conclude(end, login, interrupted);
  } finally {
    interruption.stop();
    for (const listener of listeners) listener.close();
  }
}

/** What ended, in the words of the audit log; throws what broke the session. */
async function conclude(
  end: AuditEnd & { status: number | undefined },
  { ssh, node }: NodeSession,
  interrupted: number | undefined,
): Promise<AuditEnd> {
  if (interrupted !== undefined) return { ...end, exitStatus: interrupted, error: 'interrupted' };
  if (end.status === undefined && end.signal === undefined && end.error === undefined) {
    // settled already when the connection is what ended the command
    const broken = await Promise.race([ssh.closed, Promise.resolve(undefined)]);
    throw broken ?? new Error(`${node} ended the session without a status`);
  }
  return { ...end, exitStatus: end.exitStatus ?? exitStatusOf({ status: end.status, signal: end.signal }) };
}

async function runPlain(
  channel: SshChannel,
  { settings }: Access,
): Promise<AuditEnd & { status: number | undefined }> {
  const streams = { input: process.stdin, output: process.stdout, errors: process.stderr };
  const { isIdle, isUnread, ...end } = await runWithStreams(channel, streams, {
    clock: systemClock,
    idleTimeoutMs: settings.idleTimeout,
  });
  if (isUnread) return { ...end, error: 'output closed', exitStatus: STATUS_BROKEN_PIPE };
  return { ...end, ...(isIdle ? { error: 'idle' } : {}) };
}

async function runTerminal(
  channel: SshChannel,
  terminal: LocalTerminal,
  { node, user }: NodeSession,
  { record }: Flags,
  { settings }: Access,
  tell: (line: string) => void,
): Promise<AuditEnd & { status: number | undefined }> {
  const recorder =
    record === undefined
      ? undefined
      : createRecorder(record, sizeOf(terminal), `${user}@${node}`, { clock: systemClock, warn: tell });
  try {
    const { endedBy, ...end } = await runAtTerminal(channel, terminal, {
      clock: systemClock,
      idleTimeoutMs: settings.idleTimeout,
      ...(recorder === undefined ? {} : { observer: recorder }),
    });
    if (endedBy === 'idle') tell(`\r\nThe session on ${node} was idle for too long.`);
    else tell(`${endedBy === 'escape' ? '\r\n' : ''}Connection to ${node} closed.`);
    return {
      ...end,
      ...(endedBy === undefined ? {} : { error: endedBy }),
      ...(recorder === undefined ? {} : { recording: recorder.path }),
    };
  } finally {
    recorder?.close();
  }
}

function sizeOfStdout(): { cols: number; rows: number } {
  return sizeOf({ input: process.stdin, output: process.stdout });
}

/** What Debian's ssh_config sends, and the word for colours. */
function localeVariables(env: NodeJS.ProcessEnv): Record<string, string> {
  const entries = Object.entries(env).filter(([name]) => /^(?:LANG|LC_\w+|COLORTERM)$/u.test(name));
  return Object.fromEntries(entries.map(([name, value]) => [name, value ?? '']));
}

function requireAgent(): string {
  const socket = process.env['SSH_AUTH_SOCK'];
  if (socket === undefined || socket === '')
    throw new UsageError('-A: there is no ssh-agent', { hint: 'SSH_AUTH_SOCK is not set' });
  return socket;
}
