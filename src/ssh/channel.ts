/** One shell or command on a node: its streams, its terminal, how it ended. */
import type { Duplex, Readable } from 'node:stream';
import type { ClientChannel } from 'ssh2';

/** How a shell or command ended. Without status and signal the connection broke first. */
export interface ChannelExit {
  status: number | undefined;
  /** As `SIGTERM`. */
  signal: string | undefined;
}

/** A shell or command on a node. */
export interface SshChannel {
  /** Its stdin (writable; `end()` is end-of-file) and stdout (readable). Back-pressure reaches the node. */
  readonly io: Duplex;
  /** Its stderr; empty for one with a terminal. */
  readonly stderr: Readable;
  /** Settles once it has ended and both outputs have been read to their end; somebody must read them. Never rejects. */
  readonly exit: Promise<ChannelExit>;
  /** Tells the terminal's new size. */
  resize(cols: number, rows: number): void;
  /** Asks the node to send a signal, as `INT` or `TERM`. OpenSSH does not for root. */
  signal(name: string): void;
  /** Closes the channel; the node sends SIGHUP to what runs in it. Idempotent. */
  close(): void;
}

/** The exit status of a shell that was ended by a signal, by the signal's number (bash(1), EXIT STATUS). */
const SIGNAL_BASE = 128;
const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGABRT: 6,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
};
/** What OpenSSH's client ends with when the connection broke or there was none. */
export const STATUS_BROKEN = 255;

/** The exit status that stands for an end, as shells and ssh give it. */
export function exitStatusOf({ status, signal }: ChannelExit): number {
  if (status !== undefined) return status;
  return signal === undefined ? STATUS_BROKEN : SIGNAL_BASE + (SIGNAL_NUMBERS[signal] ?? 0);
}

/** Wraps a channel of the library, from which nobody has read yet. */
export function sessionChannel(channel: ClientChannel): SshChannel {
  const { stderr } = channel;
  let status: number | undefined;
  let name: string | undefined;
  channel.on('exit', (code: number | null, signal?: string) => {
    status = code ?? undefined;
    name = signal;
  });
  // what breaks the connection is told by the session
  channel.on('error', () => {});
  stderr.on('error', () => {});
  const ended = (stream: Readable): Promise<void> =>
    new Promise((resolve) => {
      stream.once('close', () => resolve());
    });
  const exit = Promise.all([ended(channel), ended(stderr)]).then(() => ({ status, signal: name }));
  return {
    io: channel,
    stderr,
    exit,
    resize: (cols, rows) => channel.setWindow(rows, cols, 0, 0),
    signal: (signal) => sendSignal(channel, signal),
    close: () => channel.close(),
  };
}

/** The insides of the library that are used. */
interface OpenChannel {
  _client: { _protocol: { signal(id: number, name: string): void } };
  outgoing: { id: number; state: string };
}

/** The library sends none once stdin has ended, which is when a command may most need one. */
function sendSignal(channel: ClientChannel, name: string): void {
  const { _client, outgoing } = channel as unknown as OpenChannel;
  if (outgoing.state === 'open' || outgoing.state === 'eof') _client._protocol.signal(outgoing.id, name);
}
