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
  #total = 0;
  #bytesIn = 0;
  #bytesOut = 0;

  /** Connections open now. */
  get openConnections(): number {
    return this.#open.size;
  }

  began(handle: RelayHandle): void {
    this.#open.add(handle);
    this.#total += 1;
  }

  ended(handle: RelayHandle, stats: RelayStats): void {
    if (!this.#open.delete(handle)) return;
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
