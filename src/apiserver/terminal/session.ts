/**
 * One terminal: from its WebSocket to a shell on a node and back. It logs the caller in, carries bytes with back-pressure
 * both ways, ends what nobody uses, and tells how it went. Every ending of one side ends the other.
 */
import type { NodeMaintenance } from '../../api/gen/types.ts';
import type { Clock } from '../../lib/clock.ts';
import { EdgeError } from '../../lib/errors.ts';
import type { SshChannel } from '../../ssh/channel.ts';
import { createIdleTimer } from '../../ssh/idle.ts';
import type { Admission } from '../adapter/admission.ts';
import { describeFailure } from './failures.ts';
import type { Failure } from './failures.ts';
import { isAccount, NO_LOGIN } from './login.ts';
import type { Login } from './login.ts';
import type { ClientMessage, ServerMessage, TerminalSize } from './messages.ts';
import type { NodeSession, NodeSessions } from './node-sessions.ts';
import { Prompter } from './prompter.ts';
import type { Recorder, Recordings } from './recordings.ts';

/** The caller's end; a WebSocket is one. */
export interface TerminalSocket {
  /** Sends output; never blocks, so watch `queuedBytes`. */
  output(bytes: Uint8Array): void;
  /** Sends a message to clients that understand them. */
  tell(message: ServerMessage): void;
  readonly queuedBytes: number;
  /** Stops and starts onMessage. */
  pause(): void;
  resume(): void;
  /** Ends it after what is queued; `reason` is for people. */
  close(code: number, reason: string): void;
  setHandler(handler: TerminalHandler): void;
}

/** What the caller's end tells. */
export interface TerminalHandler {
  onMessage(message: Exclude<ClientMessage, { kind: 'ack' }>): void;
  /** `queuedBytes` has fallen to LOW_WATER_BYTES. */
  onDrain(): void;
  /** Exactly once, the last call. */
  onClose(): void;
}

/** What a terminal is to do. */
export interface TerminalRequest {
  id: string;
  object: NodeMaintenance;
  admission: Admission;
  size: TerminalSize;
  /** The account, where the address of the WebSocket names it. */
  user: string | undefined;
  /** Whether the client sends its credentials in a message; else they are asked for. */
  isAuthExpected: boolean;
}

/** What it needs. */
export interface TerminalDeps {
  sessions: NodeSessions;
  clock: Clock;
  recordings: Recordings | undefined;
  /** A shell without a byte either way ends, milliseconds; 0 for never. */
  idleTimeoutMs: number;
  /** Called when the shell runs. */
  onOpen: (user: string) => void;
  /** Ends it, as when the server stops. */
  signal: AbortSignal;
}

/** How a terminal went, for the audit log. */
export interface TerminalOutcome {
  user: string | undefined;
  exitStatus?: number;
  signal?: string;
  failure?: Failure;
  bytesIn: number;
  bytesOut: number;
  recording?: string;
}

/** More output than this waiting for the caller stops the node from sending. */
export const HIGH_WATER_BYTES = 256 * 1024;
/** It goes on below this. */
export const LOW_WATER_BYTES = 64 * 1024;
/** Whoever has not logged in by then is not there, milliseconds. */
const LOGIN_TIMEOUT_MS = 120_000;

const NORMAL = 1000;
const GOING_AWAY = 1001;
const POLICY = 1008;
const FAILED = 1011;

/** Runs a terminal to its end. Never rejects but for a mistake of this program. */
export async function runTerminal(
  socket: TerminalSocket,
  request: TerminalRequest,
  deps: TerminalDeps,
): Promise<TerminalOutcome> {
  return new Terminal(socket, request, deps).run();
}

class Terminal {
  readonly #socket: TerminalSocket;
  readonly #request: TerminalRequest;
  readonly #deps: TerminalDeps;
  readonly #prompter: Prompter;
  /** Aborts when the caller is gone, its time is over or the server stops. */
  readonly #abort = new AbortController();
  readonly #outcome: TerminalOutcome;
  #size: TerminalSize;
  #channel: SshChannel | undefined;
  #onAuth: ((login: Login) => void) | undefined;
  #ending: { code: number; failure: Failure } | undefined;
  #touch = (): void => {};

  constructor(socket: TerminalSocket, request: TerminalRequest, deps: TerminalDeps) {
    this.#socket = socket;
    this.#request = request;
    this.#deps = deps;
    this.#size = request.size;
    this.#outcome = { user: request.user, bytesIn: 0, bytesOut: 0 };
    this.#prompter = new Prompter({ write: (text) => socket.output(Buffer.from(text)) });
  }

  async run(): Promise<TerminalOutcome> {
    const { clock, signal } = this.#deps;
    const onStop = (): void => this.#end(GOING_AWAY, 'EDGE_ERR_TERMINAL_STOPPING', 'the server is stopping');
    signal.addEventListener('abort', onStop, { once: true });
    const timer = clock.after(LOGIN_TIMEOUT_MS, () =>
      this.#end(POLICY, 'EDGE_ERR_TERMINAL_LOGIN', `nobody logged in within ${LOGIN_TIMEOUT_MS / 1000}s`),
    );
    this.#socket.setHandler({
      onMessage: (message) => this.#receive(message),
      onDrain: () => void this.#channel?.io.resume(),
      onClose: () => this.#end(NORMAL, 'EDGE_ERR_TERMINAL_CLOSED', 'the caller has gone'),
    });
    if (signal.aborted) onStop();
    let session: NodeSession | undefined;
    let recorder: Recorder | undefined;
    try {
      session = await this.#logIn();
      timer.cancel();
      recorder = await this.#record();
      await this.#shell(session, recorder);
    } catch (err) {
      this.#fail(err);
    } finally {
      timer.cancel();
      signal.removeEventListener('abort', onStop);
      session?.close();
      await recorder?.end();
    }
    this.#farewell();
    return this.#outcome;
  }

  /** Asks what is not known, then connects. */
  async #logIn(): Promise<NodeSession> {
    const { object, admission } = this.#request;
    const signal = this.#abort.signal;
    const login = await this.#credentials();
    const user = login.user ?? this.#request.user ?? (await this.#askUser(object.spec.nodeName));
    this.#outcome.user = user;
    return this.#deps.sessions.open({
      object,
      admission,
      user,
      login,
      asker: this.#prompter,
      onBanner: (text) => this.#socket.output(Buffer.from(text.replaceAll(/\r?\n/gu, '\r\n'))),
      signal,
    });
  }

  #credentials(): Promise<Login> {
    if (!this.#request.isAuthExpected) return Promise.resolve(NO_LOGIN);
    return new Promise((resolve, reject) => {
      this.#onAuth = resolve;
      this.#abort.signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
      if (this.#abort.signal.aborted) reject(new Error('aborted'));
    });
  }

  async #askUser(node: string): Promise<string> {
    for (;;) {
      const answer = await this.#prompter.ask(`${node} login: `, true);
      if (answer === undefined) throw new EdgeError('EDGE_ERR_TERMINAL_CLOSED', 'the caller gave up');
      if (isAccount(answer)) return answer;
    }
  }

  async #record(): Promise<Recorder | undefined> {
    const { recordings } = this.#deps;
    const { object, id } = this.#request;
    const user = this.#outcome.user ?? '';
    const recorder = await recordings?.start({ node: object.spec.nodeName, user, id, size: this.#size });
    if (recorder !== undefined) this.#outcome.recording = recorder.name;
    return recorder;
  }

  /** Carries bytes until the shell or the caller is gone. */
  async #shell(session: NodeSession, recorder: Recorder | undefined): Promise<void> {
    const { clock, idleTimeoutMs, onOpen } = this.#deps;
    const user = this.#outcome.user ?? '';
    const channel = await session.shell(this.#size);
    const minutes = idleTimeoutMs / 60_000;
    const idle = createIdleTimer(clock, idleTimeoutMs, () =>
      this.#end(POLICY, 'EDGE_ERR_TERMINAL_IDLE', `nothing happened for ${minutes} minutes`),
    );
    this.#touch = () => idle.touch();
    const onAbort = (): void => {
      session.close();
      channel.io.resume(); // its end comes behind what nobody takes any more
    };
    this.#abort.signal.addEventListener('abort', onAbort, { once: true });
    if (this.#abort.signal.aborted) onAbort();
    channel.io.on('data', (chunk: Buffer) => {
      if (this.#ending !== undefined) return;
      idle.touch();
      this.#outcome.bytesOut += chunk.length;
      recorder?.output(chunk);
      this.#socket.output(chunk);
      if (this.#socket.queuedBytes > HIGH_WATER_BYTES) channel.io.pause();
    });
    channel.io.on('drain', () => this.#socket.resume());
    channel.stderr.resume(); // a shell with a terminal has none
    this.#channel = channel;
    this.#resized = (size) => {
      channel.resize(size.cols, size.rows);
      recorder?.resize(size);
    };
    onOpen(user);
    const { nodeName } = this.#request.object.spec;
    this.#socket.tell({ type: 'ready', node: nodeName, user, recorded: recorder !== undefined });
    const ahead = this.#prompter.takeRest();
    if (ahead.length > 0) this.#type(ahead);
    const exit = await channel.exit;
    idle.stop();
    this.#channel = undefined;
    if (this.#ending !== undefined) return;
    if (exit.status === undefined && exit.signal === undefined) {
      const why = await session.closed;
      throw why ?? new EdgeError('EDGE_ERR_SSH_CLOSED', `${nodeName} closed the connection`);
    }
    if (exit.status !== undefined) this.#outcome.exitStatus = exit.status;
    if (exit.signal !== undefined) this.#outcome.signal = exit.signal;
    this.#socket.tell({ type: 'exit', status: exit.status ?? null, signal: exit.signal ?? null });
  }

  #resized: (size: TerminalSize) => void = () => {};

  #receive(message: Exclude<ClientMessage, { kind: 'ack' }>): void {
    switch (message.kind) {
      case 'keys':
        if (this.#channel === undefined) this.#prompter.feed(message.bytes);
        else this.#type(message.bytes);
        return;
      case 'resize':
        this.#size = { cols: message.cols, rows: message.rows };
        this.#resized(this.#size);
        return;
      case 'auth':
        this.#onAuth?.(message.login);
        this.#onAuth = undefined;
        return;
      case 'wrong':
        this.#end(POLICY, 'EDGE_ERR_TERMINAL_MESSAGE', message.why);
    }
  }

  #type(bytes: Buffer): void {
    this.#touch();
    this.#outcome.bytesIn += bytes.length;
    if (this.#channel?.io.writable === true && !this.#channel.io.write(bytes)) this.#socket.pause();
  }

  /** Notes why it ends, once, and ends whatever is under way. */
  #end(code: number, errorCode: string, message: string): void {
    this.#ending ??= { code, failure: { status: 0, code: errorCode, message } };
    this.#prompter.cancel();
    this.#abort.abort();
  }

  #fail(err: unknown): void {
    if (this.#ending !== undefined) return;
    const failure = describeFailure(err);
    if (failure === undefined) throw err;
    this.#ending = { code: failure.status === 403 ? POLICY : FAILED, failure };
  }

  #farewell(): void {
    if (this.#ending === undefined) {
      this.#socket.close(NORMAL, 'the shell has ended');
      return;
    }
    const { code, failure } = this.#ending;
    this.#outcome.failure = failure;
    this.#socket.tell({ type: 'error', code: failure.code, message: failure.message });
    this.#socket.output(Buffer.from(`\r\n[edge: ${failure.message}]\r\n`));
    this.#socket.close(code, failure.message);
  }
}
