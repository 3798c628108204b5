/** The ports of services whose mapping names none: what Routers say now, and what they said not long ago. */
import type { Clock } from '../lib/clock.ts';

/** Remembers ports, so that a listener stays while a service has no provider for a moment. */
export interface PortMemory {
  /** Notes what Routers say and returns the ports to listen on, ascending. */
  update(key: string, known: readonly number[]): number[];
  /** Forgets services that are not mapped any more. */
  retain(keys: ReadonlySet<string>): void;
  restore(ports: Readonly<Record<string, readonly number[]>>): void;
  snapshot(): Record<string, number[]>;
}

/** A port that nobody offers any more is given up after this long, if the service has others. */
const KEEP_MS = 600_000;
/** The most ports of one service; what Routers say is not ours to trust without a bound. */
const MAX_PORTS = 64;

/** Creates an empty memory. */
export function createPortMemory(clock: Clock): PortMemory {
  /** By service: port to when it was last offered. */
  const seen = new Map<string, Map<number, number>>();
  const listOf = (ports: ReadonlyMap<number, number>): number[] => [...ports.keys()].sort((a, b) => a - b);
  return {
    update(key, known) {
      const ports = seen.get(key) ?? new Map<number, number>();
      const now = clock.now();
      for (const port of known) if (ports.has(port) || ports.size < MAX_PORTS) ports.set(port, now);
      if (known.length > 0) for (const [port, at] of ports) if (now - at > KEEP_MS) ports.delete(port);
      if (ports.size > 0) seen.set(key, ports);
      return listOf(ports);
    },
    retain(keys) {
      for (const key of seen.keys()) if (!keys.has(key)) seen.delete(key);
    },
    restore(ports) {
      const now = clock.now();
      for (const [key, list] of Object.entries(ports))
        seen.set(key, new Map(list.slice(0, MAX_PORTS).map((port) => [port, now])));
    },
    snapshot: () => Object.fromEntries([...seen].map(([key, ports]) => [key, listOf(ports)])),
  };
}
