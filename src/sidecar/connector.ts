/** Opens one connection to a mapped service: picks a Router, moves on to the next after a failure, parks while there is none. */
import { setMaxListeners } from 'node:events';
import { Backoff } from '../lib/backoff.ts';
import type { Clock } from '../lib/clock.ts';
import { sleep } from '../lib/clock.ts';
import { EdgeError } from '../lib/errors.ts';
import type { ByteStream } from '../tunnel/byte-stream.ts';
import type { FrpClient, VisitorRequest } from '../tunnel/frpc/types.ts';
import { attempt, isSilent } from './attempt.ts';
import type { AttemptResult, ProviderWatch } from './attempt.ts';
import type { Balancer, Choice, LbPolicy } from './balancer.ts';
import { sealTo } from './sealing.ts';
import type { ServiceSeal } from './sealing.ts';

/** A Router that may carry the connection, and what to ask it for. */
export interface RouterChoice extends Choice {
  client: Pick<FrpClient, 'openVisitor' | 'probe'>;
  proxyName: string;
  /** The proxies of those that are ready there, as far as is known. */
  providers: readonly string[];
}

/** One connection that is wanted. */
export interface ConnectRequest {
  /** `NAME.NAMESPACE`, for errors. */
  service: string;
  /** The Routers to try as they are now; called again after each wait. */
  choices(): RouterChoice[];
  balancer: Balancer;
  policy: LbPolicy | 'inOrder';
  sourceIp: string;
  visitor: Omit<VisitorRequest, 'proxyName' | 'seal' | 'onAdmitted'>;
  /** Providers to stay away from if there are others, as things are now. */
  avoid?: () => readonly string[];
  /** Judges those that are chosen; without it only Routers are judged. */
  watch?: ProviderWatch;
  /** How to seal it; undefined never does. */
  readonly seal?: ServiceSeal | undefined;
  /** How long to wait for a Router that can carry it, milliseconds. */
  parkTimeoutMs: number;
  /** How long one Router, and then its provider, may take to answer, milliseconds; while there are others they get less. */
  connectTimeoutMs: number;
}

/** An open stream to a service, and the way it takes. */
export interface OpenedStream {
  stream: ByteStream;
  router: string;
  /** Whether the Router gives no sign of life: then a provider that says nothing is not to blame. */
  isRouterSilent(): boolean;
}

/** A connection that is opened again, since no provider took it. */
export interface Reopening {
  /** Until when it may wait, on the clock. */
  deadline: number;
  /** How long to wait before the next try; a change of the Routers ends the wait. */
  delayMs: number;
}

/** Counts over a connector's life. */
export interface ConnectorCounters {
  /** Waiting now. */
  parked: number;
  parkedTotal: number;
  /** Attempts that failed and were followed by another. */
  retried: number;
  /** Connections given up. */
  failed: number;
}

/** Opens connections. */
export interface Connector {
  readonly counters: Readonly<ConnectorCounters>;
  /**
   * Opens a connection; nothing of the application's payload is needed or lost before it resolves. Rejects with
   * EDGE_ERR_SIDECAR_NO_ROUTER when no Router could carry it in time, EDGE_ERR_SIDECAR_PARKED_LIMIT when too many
   * wait already, EDGE_ERR_SIDECAR_STOPPED when the signal aborts.
   */
  open(request: ConnectRequest, signal: AbortSignal, again?: Reopening): Promise<OpenedStream>;
  /** Routers, their services or their clients changed: waiting connections look again. */
  wake(): void;
}

/** What a connector needs. */
export interface ConnectorDeps {
  clock: Clock;
  random: () => number;
  /** The most connections that wait at once, over all services. */
  maxParked: number;
}

/** How long a Router that was silent is tried after all others. */
const SUSPECT_MS = 5000;
/** Added to its tier: behind every tier there is. */
const SUSPECT_TIER = 10;
/** Between rounds in which every listed Router said no: its status may be a moment behind. */
const RETRY = { initialMs: 100, maxMs: 1000 };

/** Creates a connector. */
export function createConnector(deps: ConnectorDeps): Connector {
  const { clock } = deps;
  const counters: ConnectorCounters = { parked: 0, parkedTotal: 0, retried: 0, failed: 0 };
  /** Aborted, and replaced, with each change: everybody who waits wakes up. */
  let change = newChange();

  /** Routers that did not answer lately, and until when they come last. */
  const suspects = new Map<string, number>();

  /** Tries one Router, and remembers when it is silent. */
  const tryRouter = async (
    choice: RouterChoice,
    request: ConnectRequest,
    isLast: boolean,
    signal: AbortSignal,
  ): Promise<AttemptResult> => {
    const { client, proxyName, roundTripMs } = choice;
    const avoided = request.avoid?.() ?? [];
    const metas = { ...request.visitor.metas, ...(avoided.length === 0 ? {} : { avoid: avoided.join(',') }) };
    const visitor = { ...request.visitor, metas, ...sealTo(request.seal, proxyName), proxyName };
    const { watch, connectTimeoutMs: limitMs } = request;
    const result = await attempt({ client, visitor, roundTripMs, isLast, limitMs, watch }, clock, signal);
    if (result.stream === undefined && result.isRouterSilent)
      suspects.set(choice.name, clock.now() + SUSPECT_MS);
    else if (!signal.aborted) suspects.delete(choice.name);
    return result;
  };

  /** The Routers to try, in order; one that was silent a moment ago would cost each connection the same wait. */
  const candidates = (request: ConnectRequest): RouterChoice[] => {
    let choices = request.choices();
    if (suspects.size > 0) {
      const now = clock.now();
      for (const [name, until] of suspects) if (until <= now) suspects.delete(name);
      choices = choices.map((choice) => (suspects.has(choice.name) ? demoted(choice) : choice));
    }
    return request.balancer.order(choices, request.policy, request.sourceIp);
  };

  const park = async (limitMs: number, changed: AbortSignal, signal: AbortSignal): Promise<void> => {
    const wait = new AbortController();
    const stop = (): void => wait.abort();
    changed.addEventListener('abort', stop, { once: true });
    signal.addEventListener('abort', stop, { once: true });
    if (changed.aborted || signal.aborted) stop();
    await sleep(clock, limitMs, wait.signal);
    changed.removeEventListener('abort', stop);
    signal.removeEventListener('abort', stop);
  };

  const stopped = (request: ConnectRequest): EdgeError =>
    new EdgeError('EDGE_ERR_SIDECAR_STOPPED', `connect to ${request.service}: stopped`);
  const noRouter = (request: ConnectRequest, reason: string): EdgeError =>
    new EdgeError('EDGE_ERR_SIDECAR_NO_ROUTER', `connect to ${request.service}: ${reason}`, {
      retryable: true,
    });

  /** Providers that refused just now are given a moment. */
  const waitAgain = async (
    request: ConnectRequest,
    { deadline, delayMs }: Reopening,
    signal: AbortSignal,
    wait: WaitingRoom,
  ): Promise<void> => {
    const leftMs = deadline - clock.now();
    if (leftMs <= 0) throw noRouter(request, 'no provider took the connection');
    if (delayMs > 0) {
      wait.enter(request.service);
      await park(Math.min(leftMs, delayMs), change.signal, signal);
    }
    if (signal.aborted) throw stopped(request);
  };

  const search = async (
    request: ConnectRequest,
    signal: AbortSignal,
    wait: WaitingRoom,
    again: Reopening | undefined,
  ): Promise<OpenedStream> => {
    const deadline = again?.deadline ?? clock.now() + request.parkTimeoutMs;
    const retry = new Backoff(RETRY, deps.random);
    let reason = 'no Router that is online has a ready provider';
    if (again !== undefined) {
      counters.retried++;
      reason = 'no provider took the connection';
      await waitAgain(request, again, signal, wait);
    }
    for (;;) {
      const changed = change.signal; // taken before looking, so that no change in between is missed
      const choices = candidates(request);
      let mayMove = false;
      for (const [at, choice] of choices.entries()) {
        const { name: router, client, roundTripMs } = choice;
        const result = await tryRouter(choice, request, at === choices.length - 1, signal);
        if (signal.aborted) {
          result.stream?.destroy();
          throw stopped(request);
        }
        if (result.stream !== undefined)
          return { stream: result.stream, router, isRouterSilent: () => isSilent(client, roundTripMs) };
        reason = `Router ${router}: ${result.reason}`;
        counters.retried++;
        ({ mayMove } = result);
        if (mayMove) break; // the order of Routers may be another one now
      }
      const leftMs = deadline - clock.now();
      if (mayMove && leftMs > 0) continue;
      if (leftMs <= 0) throw noRouter(request, reason);
      wait.enter(request.service);
      await park(choices.length === 0 ? leftMs : Math.min(leftMs, retry.next()), changed, signal);
      if (signal.aborted) throw stopped(request);
    }
  };

  return {
    counters,
    async open(request, signal, again) {
      const room = new WaitingRoom(counters, deps.maxParked);
      try {
        return await search(request, signal, room, again);
      } catch (err) {
        counters.failed++;
        throw err;
      } finally {
        room.leave();
      }
    },
    wake() {
      change.abort();
      change = newChange();
    },
  };
}

/** As many may wait for it as may be parked. */
function newChange(): AbortController {
  const change = new AbortController();
  setMaxListeners(0, change.signal);
  return change;
}

function demoted(choice: RouterChoice): RouterChoice {
  return { ...choice, tier: choice.tier + SUSPECT_TIER };
}

/** One connection's place among the parked ones; held from its first wait until it is opened or given up. */
class WaitingRoom {
  readonly #counters: ConnectorCounters;
  readonly #limit: number;
  #isInside = false;

  constructor(counters: ConnectorCounters, limit: number) {
    this.#counters = counters;
    this.#limit = limit;
  }

  enter(service: string): void {
    if (this.#isInside) return;
    if (this.#counters.parked >= this.#limit) {
      throw new EdgeError(
        'EDGE_ERR_SIDECAR_PARKED_LIMIT',
        `connect to ${service}: ${this.#limit} connections wait already`,
        { retryable: true },
      );
    }
    this.#isInside = true;
    this.#counters.parked++;
    this.#counters.parkedTotal++;
  }

  leave(): void {
    if (this.#isInside) this.#counters.parked--;
    this.#isInside = false;
  }
}
