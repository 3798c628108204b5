/**
 * An SSH session on a node: shells, commands, file transfer and forwarded connections over one connection to its sshd,
 * whatever carries it. Wraps the library's client, whose errors become SshError.
 */
import type { Duplex } from 'node:stream';
import { Client } from 'ssh2';
import type { AnyAuthMethod, ClientChannel, ConnectConfig, SFTPWrapper } from 'ssh2';
import type { Clock } from '../lib/clock.ts';
import { errorMessage, UsageError } from '../lib/errors.ts';
import type { ByteStream } from '../tunnel/byte-stream.ts';
import { planAuthentication } from './authentication.ts';
import type { AuthMethod, AuthPlan } from './authentication.ts';
import { acceptSpecialKeys } from './library-keys.ts';
import { sessionChannel } from './channel.ts';
import type { SshChannel } from './channel.ts';
import { SshError } from './errors.ts';
import { checkHostKey, hostKeyAlgorithms } from './host-key.ts';
import type { HostKeyPolicy } from './host-key.ts';
import { createRemoteListeners } from './remote-listeners.ts';
import type { RemoteListener, RemoteListeners } from './remote-listeners.ts';
import { streamDuplex } from './stream-duplex.ts';

/** The protocol of file transfer, as the library offers it. */
export type Sftp = SFTPWrapper;

/** What a session needs. */
export interface SessionOptions {
  user: string;
  /** Ways to log in, in the order in which they are tried. */
  methods: readonly AuthMethod[];
  hostKey: HostKeyPolicy;
  clock: Clock;
  /** Time between questions whether the node is still there; three without an answer end the session. Milliseconds. */
  keepaliveMs?: number;
  /** The socket of an ssh-agent that commands on the node may use; absent for none. */
  forwardedAgent?: string;
  /** What the server says before anybody has logged in. */
  onBanner?: (text: string) => void;
  /** Ends the attempt to open the session. */
  signal?: AbortSignal;
}

/** The terminal of a shell or command. */
export interface Terminal {
  cols: number;
  rows: number;
  /** `$TERM`. */
  term: string;
}

/** What a shell or command may be given. */
export interface ChannelOptions {
  /** Absent for none: no echo, streams apart. */
  terminal?: Terminal;
  /** Variables; the sshd drops those that its AcceptEnv does not name. */
  env?: Readonly<Record<string, string>>;
}

/** An open session. Every call rejects with an SshError when the session is over. */
export interface SshSession {
  /** Settles, never rejects, when the session is over: undefined after `close` or a farewell, else why it broke. */
  readonly closed: Promise<Error | undefined>;
  shell(options: ChannelOptions): Promise<SshChannel>;
  exec(command: string, options: ChannelOptions): Promise<SshChannel>;
  sftp(): Promise<Sftp>;
  /** A connection from the node to an address, as its sshd resolves it; for `-L` and `-D`. */
  connectTo(host: string, port: number): Promise<Duplex>;
  /** Connections to a port of the node, for `-R`; port 0 lets the node choose. */
  listen(host: string, port: number, onConnection: (stream: Duplex) => void): Promise<RemoteListener>;
  /** Ends the session and what carries it; `closed` settles. Idempotent. */
  close(): void;
}

/** An sshd that says nothing for so long is not there, milliseconds. Somebody who is asked may take longer. */
const ANSWER_TIMEOUT_MS = 30_000;
const DEFAULT_KEEPALIVE_MS = 15_000;
const KEEPALIVE_COUNT = 3;
/** What may be missing when nothing that was tried was wrong in itself. */
const HINT_METHODS = 'is it the right user and key, and is the key in authorized_keys there?';
/** What the tunnel has not taken when the session ends gets this long, milliseconds. */
const FAREWELL_MS = 2000;

/**
 * Opens a session over a connection to an sshd, which belongs to the session from here on. Rejects with an SshError:
 * `auth`, `host-key`, `timeout`, `closed`, `protocol`; the connection is closed then.
 */
export function openSession(stream: ByteStream, options: SessionOptions): Promise<SshSession> {
  return openSessionOver(streamDuplex(stream), options);
}

/** The same over a socket or another duplex. */
export function openSessionOver(sock: Duplex, options: SessionOptions): Promise<SshSession> {
  const { clock, hostKey, user, signal } = options;
  const client = new Client();
  const listeners = createRemoteListeners(client);

  return new Promise<SshSession>((resolve, reject) => {
    let failure: Error | undefined;
    let isLeaving = false;
    const fail = (err: Error): void => {
      failure ??= err;
      sock.destroy();
    };
    const closed = new Promise<Error | undefined>((settle) => {
      sock.once('close', () => {
        settled();
        failure ??= new SshError('closed', `the sshd of ${hostKey.node} closed the connection`);
        reject(failure); // without effect once the session is open
        settle(isLeaving ? undefined : failure);
      });
    });
    const leave = (): void => {
      isLeaving = true;
      client.end();
      const timer = clock.after(FAREWELL_MS, () => sock.destroy());
      sock.once('close', () => timer.cancel());
    };
    const onGivenUp = (err: unknown): void => fail(describeFailure(err, plan, options));
    const plan = planAuthentication(user, options.methods, onGivenUp, {
      onAsked: () => silence.cancel(),
      onAnswered: () => {
        if (!sock.destroyed) expectAnswer();
      },
    });
    let silence = clock.after(0, () => {});
    const expectAnswer = (): void => {
      silence.cancel();
      silence = clock.after(ANSWER_TIMEOUT_MS, () =>
        fail(new SshError('timeout', `the sshd of ${hostKey.node} does not answer`)),
      );
    };
    const onAbort = (): void =>
      fail(new SshError('closed', `${hostKey.node}: given up`, { retryable: false }));
    signal?.addEventListener('abort', onAbort, { once: true });
    const settled = (): void => {
      silence.cancel();
      signal?.removeEventListener('abort', onAbort);
    };
    client.on('error', (err: Error & { level?: string }) => {
      // an agent that cannot sign is one method that failed
      if (err.level === 'agent') plan.problems.push(`ssh-agent: ${errorMessage(err)}`);
      else fail(describeFailure(err, plan, options));
    });
    // an sshd that ends its side has left; the library waits for the other side then
    sock.once('end', () => sock.end());
    client.on('banner', (text) => options.onBanner?.(text));
    client.once('ready', () => {
      settled();
      resolve(createSession(client, listeners, closed, leave));
    });

    const config: ConnectConfig = {
      sock,
      username: user,
      readyTimeout: 0, // people type passwords meanwhile; see expectAnswer
      keepaliveInterval: options.keepaliveMs ?? DEFAULT_KEEPALIVE_MS,
      keepaliveCountMax: KEEPALIVE_COUNT,
      algorithms: { serverHostKey: hostKeyAlgorithms(hostKey) },
      ...(options.forwardedAgent === undefined ? {} : { agent: options.forwardedAgent, agentForward: true }),
      hostVerifier: (key: Buffer, verify: (isGood: boolean) => void) => {
        silence.cancel();
        checkHostKey(key, hostKey).then(
          () => {
            expectAnswer();
            verify(true);
          },
          (err: unknown) => fail(err instanceof Error ? err : new SshError('host-key', errorMessage(err))),
        );
      },
      authHandler: (allowed: readonly string[] | null, _isPartial, proceed) => {
        silence.cancel();
        nextMethod(allowed ?? undefined).then(proceed, (err: unknown) =>
          fail(describeFailure(err, plan, options)),
        );
      },
    };
    const nextMethod = async (allowed: readonly string[] | undefined): Promise<AnyAuthMethod> => {
      const method = await plan.next(allowed);
      if (method === false) throw denied(plan, options);
      if (method.type !== 'keyboard-interactive') expectAnswer();
      return method;
    };
    expectAnswer();
    if (signal?.aborted === true) onAbort();
    try {
      client.connect(config);
      acceptSpecialKeys(client);
    } catch (err) {
      fail(describeFailure(err, plan, options));
    }
  });
}

function createSession(
  client: Client,
  listeners: RemoteListeners,
  closed: Promise<Error | undefined>,
  close: () => void,
): SshSession {
  const open = <T>(
    what: string,
    start: (done: (err: Error | undefined, channel: T) => void) => void,
  ): Promise<T> => openAs(what, start, (channel) => channel);
  /** `wrap` sees the channel before anything else happens to it: what comes behind it may be there already. */
  const openAs = <T, U>(
    what: string,
    start: (done: (err: Error | undefined, channel: T) => void) => void,
    wrap: (channel: T) => U,
  ): Promise<U> =>
    new Promise<U>((resolve, reject) => {
      const refuse = (err: unknown): void =>
        reject(new SshError('channel', `${what}: ${errorMessage(err)}`, { cause: err }));
      try {
        start((err, channel) => (err === undefined ? resolve(wrap(channel)) : refuse(err)));
      } catch (err) {
        refuse(err); // "Not connected"
      }
    });
  return {
    closed,
    shell: ({ terminal, env }) =>
      openAs<ClientChannel, SshChannel>(
        'the node opens no shell',
        (done) => client.shell(terminal ?? false, { env: { ...env } }, done),
        sessionChannel,
      ),
    exec: (command, { terminal, env }) =>
      openAs<ClientChannel, SshChannel>(
        'the node runs no command',
        (done) =>
          client.exec(
            command,
            { env: { ...env }, ...(terminal === undefined ? {} : { pty: { ...terminal } }) },
            done,
          ),
        sessionChannel,
      ),
    sftp: () => open<Sftp>('the node transfers no files (sftp)', (done) => client.sftp(done)),
    connectTo: (host, port) =>
      open<ClientChannel>(`${host}:${port}`, (done) => client.forwardOut('127.0.0.1', 0, host, port, done)),
    listen: (host, port, onConnection) => listeners.listen(host, port, onConnection),
    close,
  };
}

function denied(plan: AuthPlan, { user, hostKey }: SessionOptions): SshError {
  const { tried, allowed, problems } = plan;
  const accepts = `it accepts ${allowed.join(', ')}; tried: ${tried.length === 0 ? 'nothing' : tried.join(', ')}`;
  return new SshError('auth', `${hostKey.node} lets nobody in as "${user}" (${accepts})`, {
    hint: problems.length === 0 ? HINT_METHODS : problems.join('; '),
  });
}

function describeFailure(err: unknown, plan: AuthPlan, options: SessionOptions): Error {
  if (err instanceof SshError || err instanceof UsageError) return err;
  const { level } = err as { level?: string };
  const text = errorMessage(err);
  if (level === 'client-authentication') return denied(plan, options);
  if (level === 'client-timeout')
    return new SshError('timeout', `the sshd of ${options.hostKey.node} does not answer any more`);
  if (level === 'handshake' || level === 'protocol')
    return new SshError('protocol', `the sshd of ${options.hostKey.node}: ${text}`, { cause: err });
  if (/too many authentication failures/iu.test(text)) {
    return new SshError(
      'auth',
      `${options.hostKey.node}: too many keys were tried: ${plan.tried.join(', ')}`,
      {
        hint: 'name the right one with --identity, or take keys out of the agent',
      },
    );
  }
  return new SshError('closed', `the connection to ${options.hostKey.node} broke: ${text}`, { cause: err });
}
