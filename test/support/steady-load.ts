/** A steady load of connections from one host, and what a fault did to it. */
import { join } from 'node:path';
import type { TestLike, TestProcess } from './processes.ts';
import type { Place } from './real-services.ts';

/** What a fault did to the connections that were there or came while it mattered. */
export interface Damage {
  /** New connections since the fault, and how many of them failed. */
  opened: number;
  failed: number;
  /** Held connections that broke. */
  lost: number;
  /** The longest that a new connection waited for its answer, milliseconds. */
  slowestMs: number;
  /** Every connection opened later than this after the fault was answered in time, milliseconds; 0 when all were. */
  recoveredMs: number;
  /** So long after the fault the last held connection broke, milliseconds; 0 when none did. */
  lostForMs: number;
  /** What went wrong, each once. */
  errors: readonly string[];
}

/** A load that runs until the test ends. */
export interface SteadyLoad {
  /** The time that a later damageSince() counts from. */
  now(): number;
  /** Waits until all connections, new and held, are answered in time again for a while; what has happened since. */
  damageSince(fault: number): Promise<Damage>;
}

/** How much. */
export interface LoadOptions {
  host: string;
  port: number;
  /** New connections a second. */
  perSecond: number;
  /** Connections that stay. */
  held: number;
}

interface LoadEvent {
  kind: 'new' | 'lost' | 'state';
  at: number;
  ms?: number;
  overdue?: number;
  error?: string;
}

/** Answered later than this is not in time, milliseconds; a busy machine takes a tenth of it. */
const IN_TIME_MS = 1000;
/** So long, milliseconds, everything must be in time before a fault counts as over. */
const CALM_MS = 3000;
const OVER_WITHIN_MS = 100_000;

/** Starts the load; resolves when it is answered. */
export async function startLoad(t: TestLike, on: Place, options: LoadOptions): Promise<SteadyLoad> {
  const script = join(process.cwd(), 'test/support/clients/steady-load.mjs');
  const args = [options.host, options.port, options.perSecond, options.held].map(String);
  const client = on.start(t, [process.execPath, script, ...args], { name: 'steady load' });
  const load = new Load(client);
  await load.damageSince(load.now());
  return load;
}

class Load implements SteadyLoad {
  readonly #client: TestProcess;

  constructor(client: TestProcess) {
    this.#client = client;
  }

  now(): number {
    return Number(process.hrtime.bigint()) / 1e6; // of the machine: the same in all processes
  }

  async damageSince(fault: number): Promise<Damage> {
    const isCalm = (): boolean => {
      const calmFrom = Math.max(fault, this.now() - CALM_MS);
      if (this.now() - fault < CALM_MS) return false;
      const events = this.#events().filter((event) => event.at + (event.ms ?? 0) >= calmFrom);
      const kinds = new Set(events.map(({ kind }) => kind));
      return kinds.has('new') && kinds.has('state') && !events.some(isBad);
    };
    await this.#client.waitFor(isCalm, 'connections are answered in time', OVER_WITHIN_MS);
    return this.#damage(fault);
  }

  #damage(fault: number): Damage {
    const events = this.#events().filter((event) => event.at + (event.ms ?? 0) >= fault);
    const opened = events.filter(({ kind }) => kind === 'new');
    const bad = opened.filter(isBad);
    const lost = events.filter(({ kind }) => kind === 'lost');
    return {
      opened: opened.length,
      failed: opened.filter(({ error }) => error !== undefined).length,
      lost: lost.length,
      slowestMs: Math.round(Math.max(0, ...opened.map(({ ms = 0 }) => ms))),
      recoveredMs: Math.round(Math.max(0, ...bad.map(({ at }) => at - fault))),
      lostForMs: Math.round(Math.max(0, ...lost.map(({ at }) => at - fault))),
      errors: [...new Set(events.flatMap(({ error }) => error ?? []))],
    };
  }

  #events(): LoadEvent[] {
    const lines = this.#client.stdout.split('\n').slice(0, -1); // what follows the last line end is half a line
    return lines.map((line) => JSON.parse(line) as LoadEvent);
  }
}

function isBad(event: LoadEvent): boolean {
  return event.error !== undefined || (event.ms ?? 0) > IN_TIME_MS || (event.overdue ?? 0) > 0;
}
