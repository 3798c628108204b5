/** Bounds what one client, and all of them together, may have under way; the rest is told to come back (429). */
import { statusError } from '../api/status.ts';

/** How much may be under way. */
export interface LimitSettings {
  /** Requests of all clients; watches are not counted here. */
  requests: number;
  requestsPerClient: number;
  watchesPerClient: number;
}

/** One busy client cannot take the server from the others: half of all requests are out of its reach. */
export const DEFAULT_LIMITS: LimitSettings = {
  requests: 1024,
  requestsPerClient: 512,
  watchesPerClient: 1000,
};

const RETRY_AFTER_SECONDS = 1;

interface Usage {
  requests: number;
  watches: number;
}

function tooMany(what: string): Error {
  return statusError('TooManyRequests', `too many ${what}, please try again later`, {
    retryAfterSeconds: RETRY_AFTER_SECONDS,
  });
}

/** Counts requests and watches by client; a client that has nothing under way takes no memory. */
export class RequestLimits {
  readonly #settings: LimitSettings;
  readonly #clients = new Map<string, Usage>();
  #requests = 0;

  constructor(settings: LimitSettings) {
    this.#settings = settings;
  }

  /** Takes a place for a request; throws a 429 Status when there is none. The caller calls what it gets exactly once. */
  admit(client: string, isWatch: boolean): () => void {
    const { requests, requestsPerClient, watchesPerClient } = this.#settings;
    const usage = this.#clients.get(client) ?? { requests: 0, watches: 0 };
    if (isWatch ? usage.watches >= watchesPerClient : usage.requests >= requestsPerClient)
      throw tooMany(isWatch ? 'watches of this client are open' : 'requests of this client are under way');
    if (!isWatch && this.#requests >= requests) throw tooMany('requests are under way');
    this.#clients.set(client, usage);
    const count = (by: number): void => {
      if (isWatch) usage.watches += by;
      else {
        usage.requests += by;
        this.#requests += by;
      }
    };
    count(1);
    return () => {
      count(-1);
      if (usage.requests === 0 && usage.watches === 0) this.#clients.delete(client);
    };
  }
}
