/** The remote ports that clients may hold: allowed ranges, who has what, and what a name had last. */
import type { Clock } from '../../lib/clock.ts';
import { TunnelError } from '../errors.ts';
import type { PortRange } from './types.ts';

/** A proxy that comes back within a day gets its port again, as with frp. */
const REMEMBER_MS = 24 * 3_600_000;
const MAX_REMEMBERED = 10_000;
/** Tries to find a free port when the client lets the server choose. */
const CHOICES = 5;

/** Hands out ports; binding them is the caller's. */
export class PortAllocator {
  #allowed: readonly PortRange[];
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #taken = new Map<number, string>();
  readonly #remembered = new Map<string, { port: number; at: number }>();

  constructor(allowed: readonly PortRange[], deps: { clock: Clock; random: () => number }) {
    this.#allowed = allowed;
    this.#clock = deps.clock;
    this.#random = deps.random;
  }

  /** Changes what may be asked for from now on; ports that are held stay. */
  allow(allowed: readonly PortRange[]): void {
    this.#allowed = allowed;
  }

  /** Reserves the asked port, or the candidates to try for port 0. Throws TunnelError (proxyRefused). */
  candidates(name: string, wanted: number): number[] {
    if (wanted !== 0) {
      if (!this.#isAllowed(wanted)) throw new TunnelError('proxyRefused', `port not allowed: ${wanted}`);
      if (this.#taken.has(wanted)) throw new TunnelError('proxyRefused', `port already used: ${wanted}`);
      return [wanted];
    }
    const last = this.#remembered.get(name);
    const found = new Set<number>();
    if (last !== undefined && this.#clock.now() - last.at < REMEMBER_MS && this.#isFree(last.port))
      found.add(last.port);
    for (let tries = 0; tries < CHOICES * 4 && found.size < CHOICES; tries++) {
      const port = this.#randomAllowed();
      if (this.#isFree(port)) found.add(port);
    }
    if (found.size === 0) throw new TunnelError('proxyRefused', 'no available port');
    return [...found];
  }

  /** Notes that a port is bound. */
  take(port: number, name: string): void {
    this.#taken.set(port, name);
  }

  /** Frees a port and remembers who had it. */
  release(port: number, name: string): void {
    if (this.#taken.get(port) !== name) return;
    this.#taken.delete(port);
    if (this.#remembered.size >= MAX_REMEMBERED) {
      const oldest = this.#remembered.keys().next();
      if (oldest.done !== true) this.#remembered.delete(oldest.value);
    }
    this.#remembered.delete(name);
    this.#remembered.set(name, { port, at: this.#clock.now() });
  }

  #isAllowed(port: number): boolean {
    return (
      this.#allowed.length === 0 || this.#allowed.some((range) => port >= range.start && port <= range.end)
    );
  }

  #isFree(port: number): boolean {
    return this.#isAllowed(port) && !this.#taken.has(port);
  }

  #randomAllowed(): number {
    const ranges = this.#allowed.length === 0 ? [{ start: 1024, end: 65_535 }] : this.#allowed;
    const total = ranges.reduce((sum, range) => sum + range.end - range.start + 1, 0);
    let offset = Math.floor(this.#random() * total);
    for (const range of ranges) {
      const size = range.end - range.start + 1;
      if (offset < size) return range.start + offset;
      offset -= size;
    }
    return ranges[0]?.start ?? 1024;
  }
}
