/** Counts the connections and bytes of one owner, open connections included. */
import type { RelayHandle, RelayStats } from '../relay.ts';

/** Counts of an owner's life; In is user → client. */
export interface TrafficSnapshot {
  connections: number;
  totalConnections: number;
  bytesIn: number;
  bytesOut: number;
}

/** See the file's first line. Relays run from the user to the client. */
export class TrafficCounter {
  readonly #open = new Set<RelayHandle>();
  /** Those of them that have no end of their own. */
  readonly #endless = new Set<RelayHandle>();
  #total = 0;
  #bytesIn = 0;
  #bytesOut = 0;

  /** Connections open now. */
  get openConnections(): number {
    return this.#open.size;
  }

  /** The connections open now. */
  open(): Iterable<RelayHandle> {
    return this.#open;
  }

  /** Open connections that will end by themselves: what a drain waits for. */
  get endingConnections(): number {
    return this.#open.size - this.#endless.size;
  }

  /** A connection began; one that carries datagrams is `endless`, since nobody ever says that it is done. */
  began(handle: RelayHandle, isEndless = false): void {
    this.#open.add(handle);
    if (isEndless) this.#endless.add(handle);
    this.#total += 1;
  }

  /** Adds bytes that belong to no connection. */
  carried(bytesIn: number, bytesOut: number): void {
    this.#bytesIn += bytesIn;
    this.#bytesOut += bytesOut;
  }

  ended(handle: RelayHandle, stats: RelayStats): void {
    if (!this.#open.delete(handle)) return;
    this.#endless.delete(handle);
    this.#bytesIn += stats.bytesAToB;
    this.#bytesOut += stats.bytesBToA;
  }

  snapshot(): TrafficSnapshot {
    let bytesIn = this.#bytesIn;
    let bytesOut = this.#bytesOut;
    for (const handle of this.#open) {
      bytesIn += handle.bytesAToB;
      bytesOut += handle.bytesBToA;
    }
    return { connections: this.#open.size, totalConnections: this.#total, bytesIn, bytesOut };
  }

  /** Aborts every open connection. */
  abortAll(err: Error): void {
    for (const handle of this.#open) handle.destroy(err);
  }
}
