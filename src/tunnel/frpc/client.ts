/** A client of one tunnel server: keeps a session up, its proxies registered, and opens visitor connections. */
import { arch, hostname, platform } from 'node:os';
import { Backoff } from '../../lib/backoff.ts';
import { sleep } from '../../lib/clock.ts';
import type { Clock } from '../../lib/clock.ts';
import { EdgeError, errorCode } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import type { ByteStream } from '../byte-stream.ts';
import { TUNNEL_ERRORS, TunnelError } from '../errors.ts';
import { describeServer } from './dial.ts';
import { ProxyTable } from './proxy-table.ts';
import { ClientSession } from './session.ts';
import type { SessionListener } from './session.ts';
import type {
  FrpClient,
  FrpClientConfig,
  FrpClientPhase,
  ProxyDefinition,
  ProxyHandle,
  VisitorRequest,
} from './types.ts';

/** What a client needs. */
export interface FrpClientDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
}

/** The first retry comes within a quarter of a second; a server that is away for long is asked every few seconds. */
const RETRY = { initialMs: 200, maxMs: 5000, jitter: 0.5 } as const;
/** A session that lived this long was a success: the next loss starts the delays over. */
const STABLE_AFTER_MS = 5000;

/** Creates a client; nothing happens before start(). */
export function createFrpClient(config: FrpClientConfig, deps: FrpClientDeps): FrpClient {
  return new Client(config, deps);
}

class Client implements FrpClient {
  readonly #config: FrpClientConfig;
  readonly #deps: FrpClientDeps;
  readonly #log: Logger;
  readonly #proxies: ProxyTable;
  readonly #stopped = new AbortController();
  #phase: FrpClientPhase = 'idle';
  #lastError: Error | undefined;
  #session: ClientSession | undefined;
  #runId = '';
  #loginSeconds = 0;
  #onChange: () => void = () => {};
  #loop: Promise<void> | undefined;

  constructor(config: FrpClientConfig, deps: FrpClientDeps) {
    this.#config = config;
    this.#deps = deps;
    this.#log = deps.log.with({ server: describeServer(config.server) });
    this.#proxies = new ProxyTable({
      user: config.user,
      clock: deps.clock,
      log: this.#log,
      send: (value) => this.#session?.send(value),
      onChange: () => this.#onChange(),
    });
  }

  get phase(): FrpClientPhase {
    return this.#phase;
  }

  get lastError(): Error | undefined {
    return this.#lastError;
  }

  get runId(): string | undefined {
    return this.#runId === '' ? undefined : this.#runId;
  }

  get roundTripMs(): number | undefined {
    return this.#session?.roundTripMs;
  }

  probe(): number {
    return this.#session?.probe() ?? 0;
  }

  start(): void {
    this.#loop ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#session?.close(new TunnelError('closed', 'client stopped'));
    await this.#loop;
    this.#proxies.stop();
    this.#to('stopped', undefined);
  }

  onChange(listener: () => void): void {
    this.#onChange = listener;
  }

  addProxy(definition: ProxyDefinition): ProxyHandle {
    return this.#proxies.add(definition);
  }

  async openVisitor(request: VisitorRequest, signal?: AbortSignal): Promise<ByteStream> {
    const session = this.#session;
    if (session === undefined) {
      throw new TunnelError('offline', `not connected to ${describeServer(this.#config.server)}`, {
        cause: this.#lastError,
      });
    }
    try {
      return await session.openVisitor(request, signal);
    } catch (err) {
      if (err instanceof EdgeError) throw err;
      throw new TunnelError('closed', `${request.proxyName}: connection to the server lost`, { cause: err });
    }
  }

  async #run(): Promise<void> {
    const backoff = new Backoff(RETRY, this.#deps.random);
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      this.#to('connecting', this.#lastError);
      const err = await this.#runSession(backoff);
      if (signal.aborted) return;
      const delayMs = backoff.next();
      const isRefused = errorCode(err) === TUNNEL_ERRORS.loginRefused;
      this.#log.debug('disconnected', { error: err, retryMs: Math.round(delayMs) });
      this.#to(isRefused ? 'refused' : 'waiting', err);
      await sleep(this.#deps.clock, delayMs, signal);
    }
  }

  /** Runs one session; resolves with the reason of its end. */
  #runSession(backoff: Backoff): Promise<Error> {
    return new Promise((resolve) => {
      const { clock, log } = this.#deps;
      let loggedInAt: number | undefined;
      const listener: SessionListener = {
        onProxyAnswer: (answer) => this.#proxies.onAnswer(answer),
        onWorkConnection: (start, stream) => {
          const session = this.#session;
          if (session === undefined) stream.destroy(new TunnelError('closed', 'session closed'));
          else this.#proxies.onWorkConnection(start, stream, session);
        },
        onClose: (err) => {
          this.#session = undefined;
          this.#proxies.onOffline();
          if (loggedInAt !== undefined && clock.now() - loggedInAt > STABLE_AFTER_MS) backoff.reset();
          resolve(err);
        },
      };
      const host = { name: hostname(), os: platform(), arch: arch() === 'x64' ? 'amd64' : arch() };
      ClientSession.login(
        this.#config,
        { previousRunId: this.#runId, timestamp: this.#nextLoginSeconds() },
        { clock, log, host },
        this.#stopped.signal,
        listener,
      ).then(
        (session) => {
          if (this.#stopped.signal.aborted) {
            session.close(new TunnelError('closed', 'client stopped'));
            return;
          }
          this.#session = session;
          this.#runId = session.runId;
          loggedInAt = clock.now();
          this.#log.debug('logged in', { runId: session.runId });
          this.#to('online', undefined);
          this.#proxies.onOnline();
        },
        (err: unknown) => resolve(err instanceof Error ? err : new Error(String(err))),
      );
    });
  }

  /** Seconds since 1970, later than at the last login: a server takes an equal one for a repetition by somebody else. */
  #nextLoginSeconds(): number {
    const now = Math.floor(this.#deps.clock.wallNow().getTime() / 1000);
    this.#loginSeconds = Math.max(now, this.#loginSeconds + 1);
    return this.#loginSeconds;
  }

  #to(phase: FrpClientPhase, err: Error | undefined): void {
    const isChange = phase !== this.#phase;
    this.#phase = phase;
    this.#lastError = err;
    if (isChange) this.#onChange();
  }
}
