/**
 * One try to open a connection through one Router, and who is to blame when it fails: the Router while it has chosen no
 * provider, or when it gives no sign of life at all, the provider from then on.
 */
import type { Clock, Timer } from '../lib/clock.ts';
import { EdgeError, errorCode, errorMessage } from '../lib/errors.ts';
import type { ByteStream } from '../tunnel/byte-stream.ts';
import { TUNNEL_ERRORS } from '../tunnel/errors.ts';
import type { FrpClient, VisitorRequest } from '../tunnel/frpc/types.ts';
import { isProvidersFault } from './blame.ts';

/** Judges the providers that Routers choose for one connection. */
export interface ProviderWatch {
  /** Whether there is another one that this connection has had no bad luck with. */
  hasOther(provider: string): boolean;
  /** It takes its time. */
  late(provider: string): void;
  /** It failed, or was given up since it was silent; whether the next try may go to another one at once. */
  failed(provider: string, isSilent: boolean): boolean;
}

/** Where and how to try. */
export interface AttemptRequest {
  client: Pick<FrpClient, 'openVisitor' | 'probe'>;
  visitor: VisitorRequest;
  /** Round trip to the Router, milliseconds. */
  roundTripMs: number | undefined;
  /** There is no other Router to go to. */
  isLast: boolean;
  /** The longest that anybody may take, milliseconds. */
  limitMs: number;
  watch: ProviderWatch | undefined;
}

/** How it went. */
export type AttemptResult =
  | { stream: ByteStream }
  | {
      stream?: undefined;
      reason: string;
      /** The Router did not answer. */
      isRouterSilent: boolean;
      /** Another provider may do better at once, through any Router. */
      mayMove: boolean;
    };

/** A Router that lives but says neither yes nor no gets this long while there is another one to try, milliseconds. */
const ROUTER_MS = 2000;
/** A Router that owes the answer to a ping for this long is silent, milliseconds; three of its round trips when those are more. */
const ROUTER_SILENT_MS = 750;
/** How often a Router is looked at meanwhile, milliseconds. */
const CHECK_MS = 250;
/** A provider that has not answered by then is late: further connections go elsewhere, milliseconds. */
export const LATE_MS = 500;
/** A provider that has not answered by then is left when there is another one, milliseconds. */
export const MOVE_MS = 1000;

/** Whether a Router has been silent for so long that it is taken for dead. */
export function isSilent(client: Pick<FrpClient, 'probe'>, roundTripMs = 0): boolean {
  return client.probe() >= Math.max(ROUTER_SILENT_MS, 3 * roundTripMs);
}

/** Tries; never rejects. */
export async function attempt(
  request: AttemptRequest,
  clock: Clock,
  signal: AbortSignal,
): Promise<AttemptResult> {
  const abort = new AbortController();
  const onAbort = (): void => abort.abort();
  signal.addEventListener('abort', onAbort, { once: true });
  const patience = new Patience(request, clock, onAbort);
  try {
    const onAdmitted = (provider: string | undefined): void => patience.admitted(provider);
    const visitor = { ...request.visitor, onAdmitted };
    return { stream: await request.client.openVisitor(visitor, abort.signal) };
  } catch (err) {
    if (signal.aborted) return { reason: 'stopped', isRouterSilent: false, mayMove: false };
    return patience.judge(err);
  } finally {
    patience.cancel();
    signal.removeEventListener('abort', onAbort);
  }
}

/** Looks after the attempt until its time is up, and knows whom it was waiting for. */
class Patience {
  readonly #request: AttemptRequest;
  readonly #clock: Clock;
  readonly #giveUp: () => void;
  #since: number;
  #provider: string | undefined;
  #isLate = false;
  #blamed: 'router' | 'provider' | undefined;
  #timer: Timer;

  constructor(request: AttemptRequest, clock: Clock, giveUp: () => void) {
    this.#request = request;
    this.#clock = clock;
    this.#giveUp = giveUp;
    this.#since = clock.now();
    this.#timer = this.#next();
  }

  /** The Router has done its part. */
  admitted(provider: string | undefined): void {
    if (provider === undefined || this.#request.watch === undefined) return;
    this.#provider = provider;
    this.#since = this.#clock.now();
    this.#timer.cancel();
    this.#timer = this.#next();
  }

  cancel(): void {
    this.#timer.cancel();
  }

  judge(err: unknown): AttemptResult {
    const { watch } = this.#request;
    const provider = this.#provider;
    if (this.#blamed === 'provider' && provider !== undefined) {
      const mayMove = watch?.failed(provider, true) ?? false;
      return { reason: `provider ${provider}: no answer in time`, isRouterSilent: false, mayMove };
    }
    const isRouterSilent =
      this.#blamed === 'router' || (provider === undefined && errorCode(err) === TUNNEL_ERRORS.timeout);
    if (isRouterSilent) return { reason: 'no answer in time', isRouterSilent, mayMove: false };
    const isProviders = provider !== undefined && isProvidersFault(err);
    const mayMove = isProviders && (watch?.failed(provider, false) ?? false);
    return { reason: errorMessage(err), isRouterSilent, mayMove };
  }

  #next(): Timer {
    const { isLast, limitMs } = this.#request;
    const limit = this.#provider !== undefined || isLast ? limitMs : Math.min(ROUTER_MS, limitMs);
    const due = Math.min(this.#clock.now() + CHECK_MS, this.#since + limit);
    return this.#clock.after(due - this.#clock.now(), () => {
      // After a pause of this process an answer may have come that it has not read yet.
      const isPaused = this.#clock.now() - due > CHECK_MS;
      this.#blamed = this.#blame(limit, isPaused);
      if (this.#blamed === undefined) this.#timer = this.#next();
      else this.#giveUp();
    });
  }

  /** Who has had all the time there is. */
  #blame(limitMs: number, isPaused: boolean): 'router' | 'provider' | undefined {
    const { client, roundTripMs, isLast, watch } = this.#request;
    const provider = this.#provider;
    const waitedMs = this.#clock.now() - this.#since;
    const isRouterSilent = isSilent(client, roundTripMs) && !isPaused;
    if (isRouterSilent && !isLast) return 'router';
    if (provider === undefined) return waitedMs >= limitMs ? 'router' : undefined;
    if (waitedMs >= limitMs) return isRouterSilent ? 'router' : 'provider';
    if (isPaused || isRouterSilent) return undefined;
    if (waitedMs >= LATE_MS && !this.#isLate) {
      this.#isLate = true;
      watch?.late(provider);
    }
    return waitedMs >= MOVE_MS && watch?.hasOther(provider) === true ? 'provider' : undefined;
  }
}

/** The code of providerSilent(). */
export const PROVIDER_SILENT = 'EDGE_ERR_SIDECAR_PROVIDER_SILENT';

/** An error for a provider that was given up. */
export function providerSilent(): EdgeError {
  return new EdgeError(PROVIDER_SILENT, 'the provider did not accept in time', {
    retryable: true,
  });
}
