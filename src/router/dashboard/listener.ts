/** Keeps the dashboard listening where the configuration says; a failure concerns nothing else and is retried. */
import { isDeepStrictEqual } from 'node:util';
import { formatHostPort } from '../../lib/address.ts';
import { Backoff } from '../../lib/backoff.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import type { FetchHandler, HttpListenOptions, HttpServer } from '../../lib/http.ts';
import type { Logger } from '../../lib/log.ts';
import type { DashboardConfig } from '../config.ts';
import type { DashboardControl } from '../router.ts';
import { exposureProblem } from './access.ts';

/** The part of the dashboard that listens. */
export type ListenerControl = Pick<DashboardControl, 'apply' | 'problem' | 'stop'>;

/** What the listener needs. */
export interface ListenerDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  fetch: FetchHandler;
  listen: (options: HttpListenOptions) => Promise<HttpServer>;
  /** Called when `problem` changed. */
  onChange: () => void;
}

const RETRY = { initialMs: 500, maxMs: 10_000 };
/** Requests under way get this long when the dashboard moves or ends. */
const CLOSE_MS = 500;

/** Creates the listener; nothing listens until apply(). */
export function createDashboardListener(deps: ListenerDeps): ListenerControl {
  return new DashboardListener(deps);
}

class DashboardListener implements ListenerControl {
  readonly #deps: ListenerDeps;
  readonly #backoff: Backoff;
  #wanted: DashboardConfig | undefined;
  #bound: { where: string; tls: DashboardConfig['tls']; port: number; http: HttpServer } | undefined;
  #bindProblem: string | undefined;
  #retry: Timer | undefined;
  #working: Promise<void> | undefined;
  #isDirty = false;
  #isStopped = false;

  constructor(deps: ListenerDeps) {
    this.#deps = deps;
    this.#backoff = new Backoff(RETRY, deps.random);
  }

  get problem(): string | undefined {
    if (this.#bindProblem !== undefined) return this.#bindProblem;
    return this.#wanted === undefined ? undefined : exposureProblem(this.#wanted);
  }

  apply(config: DashboardConfig | undefined): void {
    if (this.#isStopped) return;
    this.#wanted = config;
    this.#kick();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#wanted = undefined;
    this.#kick();
    await this.#working;
    this.#retry?.cancel();
  }

  #kick(): void {
    this.#isDirty = true;
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
    });
  }

  async #work(): Promise<void> {
    while (this.#isDirty) {
      this.#isDirty = false;
      this.#retry?.cancel();
      await this.#converge(this.#wanted);
    }
  }

  async #converge(wanted: DashboardConfig | undefined): Promise<void> {
    const where = wanted === undefined ? undefined : formatHostPort(wanted.addr, wanted.port);
    if (where === this.#bound?.where && isDeepStrictEqual(wanted?.tls, this.#bound?.tls)) {
      this.#setProblem(undefined);
      return;
    }
    // Two addresses of one port cannot be held at once when one of them is the wildcard.
    if (wanted === undefined || wanted.port === this.#bound?.port) await this.#close();
    if (wanted === undefined || where === undefined) {
      this.#setProblem(undefined);
      return;
    }
    try {
      const http = await this.#deps.listen({
        fetch: this.#deps.fetch,
        host: wanted.addr,
        port: wanted.port,
        ...(wanted.tls === undefined ? {} : { tls: wanted.tls }),
      });
      await this.#close();
      this.#bound = { where, tls: wanted.tls, port: wanted.port, http };
      this.#backoff.reset();
      this.#deps.log.info('dashboard listens', { addr: where });
      this.#setProblem(undefined);
    } catch (err) {
      this.#setProblem(errorMessage(err));
      this.#retry = this.#deps.clock.after(this.#backoff.next(), () => this.#kick());
    }
  }

  async #close(): Promise<void> {
    const bound = this.#bound;
    this.#bound = undefined;
    await bound?.http.close(CLOSE_MS);
  }

  #setProblem(problem: string | undefined): void {
    if (problem === this.#bindProblem) return;
    this.#bindProblem = problem;
    if (problem !== undefined) this.#deps.log.warn('dashboard is not served, retrying', { error: problem });
    this.#deps.onChange();
  }
}
