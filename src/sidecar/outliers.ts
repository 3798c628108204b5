/**
 * Providers of one service that failed several times in a row are left out for a while, then get connections back little
 * by little: what is broken although it looks ready costs a few connections and not every second one.
 */
import type { Clock } from '../lib/clock.ts';

/** When a provider is left out, and for how long. */
export interface EjectionSettings {
  /** Failures in a row; 0 never leaves one out. */
  afterFailures: number;
  /** The first time, milliseconds; doubled each time. */
  baseMs: number;
}

/** The providers of a service that misbehave. */
export interface Outliers {
  /** Providers that the next connection should not go to, if there are others; a few at most. */
  avoided(): string[];
  /** How many are left out now. */
  readonly ejected: number;
  /** How often one was left out. */
  readonly ejections: number;
  /** Whether a provider is left out now, come what may: late, or in the time after its failures. */
  isLeftOut(provider: string): boolean;
  succeeded(provider: string): void;
  /** It has not answered for a moment: others are tried until it does, or some seconds are over. */
  late(provider: string): void;
  /** One that was silent is left out at once: its failures cost those that meet it a second each. */
  failed(provider: string, isSilent?: boolean): void;
}

/** The longest time is this many times the first. */
const MAX_FACTOR = 12;
/** After its time a provider gets this share of its connections, and all of them when as much time again is over. */
const FIRST_SHARE = 0.1;
/** How long a provider that is late is not asked again, milliseconds. */
const LATE_MS = 5000;
/** Providers that are remembered; beyond, the one that failed longest ago is forgotten. */
const MAX_PROVIDERS = 256;
/** Names in one request to a Router, whose messages are bounded. */
export const MAX_AVOIDED = 16;

interface Entry {
  /** In a row. */
  failures: number;
  /** How often it was left out without having behaved since. */
  times: number;
  ejectedUntil: number;
  /** When it has all its connections back. */
  returnedAt: number;
}

/** Creates one with nobody left out. */
export function createOutliers(
  settings: () => EjectionSettings,
  { clock, random }: { clock: Clock; random: () => number },
): Outliers {
  const entries = new Map<string, Entry>();
  /** Until when those that are late are left alone. */
  const lateUntil = new Map<string, number>();
  let ejections = 0;

  const eject = (entry: Entry): void => {
    const { baseMs } = settings();
    const lengthMs = baseMs * Math.min(2 ** entry.times, MAX_FACTOR);
    entry.times++;
    entry.failures = 0;
    entry.ejectedUntil = clock.now() + lengthMs;
    entry.returnedAt = entry.ejectedUntil + lengthMs;
    ejections++;
  };

  /** The share of its connections that a provider gets now. */
  const shareOf = ({ ejectedUntil, returnedAt }: Entry): number => {
    const now = clock.now();
    if (now < ejectedUntil) return 0;
    if (now >= returnedAt) return 1;
    return FIRST_SHARE + (1 - FIRST_SHARE) * ((now - ejectedUntil) / (returnedAt - ejectedUntil));
  };

  return {
    avoided() {
      const avoided: string[] = [];
      const now = clock.now();
      for (const [provider, until] of lateUntil) {
        if (until <= now) lateUntil.delete(provider);
        else if (avoided.length < MAX_AVOIDED) avoided.push(provider);
      }
      if (settings().afterFailures === 0) return avoided;
      for (const [provider, entry] of entries) {
        if (avoided.length >= MAX_AVOIDED) break;
        if (!avoided.includes(provider) && random() >= shareOf(entry)) avoided.push(provider);
      }
      return avoided;
    },
    get ejected() {
      const now = clock.now();
      let count = 0;
      for (const { ejectedUntil } of entries.values()) if (now < ejectedUntil) count++;
      return count;
    },
    get ejections() {
      return ejections;
    },
    isLeftOut(provider) {
      const entry = entries.get(provider);
      const isEjected = entry !== undefined && shareOf(entry) === 0;
      return (isEjected && settings().afterFailures > 0) || (lateUntil.get(provider) ?? 0) > clock.now();
    },
    late(provider) {
      if (lateUntil.size < MAX_PROVIDERS || lateUntil.has(provider))
        lateUntil.set(provider, clock.now() + LATE_MS);
    },
    succeeded(provider) {
      lateUntil.delete(provider);
      const entry = entries.get(provider);
      if (entry === undefined) return;
      entry.failures = 0;
      if (shareOf(entry) === 1) entries.delete(provider);
    },
    failed(provider, isSilent = false) {
      const { afterFailures } = settings();
      if (afterFailures === 0) return;
      const entry = entries.get(provider) ?? {
        failures: 0,
        times: 0,
        ejectedUntil: -Infinity,
        returnedAt: -Infinity,
      };
      entries.delete(provider); // moves to the end: forgotten last
      entries.set(provider, entry);
      const [oldest] = entries.keys();
      if (entries.size > MAX_PROVIDERS && oldest !== undefined) entries.delete(oldest);
      const share = shareOf(entry);
      if (share === 0) return; // a connection from before
      entry.failures++;
      // on its way back one failure is enough
      if (isSilent || entry.failures >= afterFailures || share < 1) eject(entry);
    },
  };
}
