/** Connections that have not logged in: a bounded number, of which one source cannot take the places of the others. */
import { isIPv6 } from 'node:net';

/** A connection that counts as pending. */
export class PendingConnection {
  /** Ends it, for another that needs its place. */
  cut: () => void;
  readonly #onSettled: (entry: PendingConnection) => void;
  #isSettled = false;

  constructor(cut: () => void, onSettled: (entry: PendingConnection) => void) {
    this.cut = cut;
    this.#onSettled = onSettled;
  }

  /** It counts no longer: it logged in, or it is gone. Idempotent. */
  settle(): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    this.#onSettled(this);
  }
}

/** See the file's first line. */
export class PendingConnections {
  readonly #bySource = new Map<string, Set<PendingConnection>>();
  #count = 0;

  /** Connections that are pending now. */
  get count(): number {
    return this.#count;
  }

  /**
   * Adds one. When there are `max` already the oldest goes, of the source that has most: a client needs its place for
   * a moment, a flood keeps every place that it gets.
   */
  add(address: string | undefined, max: number, cut: () => void): PendingConnection {
    const source = sourceOf(address);
    while (this.#count >= Math.max(max, 1)) this.#evict();
    const ofSource = this.#bySource.get(source) ?? new Set();
    this.#bySource.set(source, ofSource);
    const entry = new PendingConnection(cut, (settled) => {
      ofSource.delete(settled);
      this.#count -= 1;
      if (ofSource.size === 0 && this.#bySource.get(source) === ofSource) this.#bySource.delete(source);
    });
    ofSource.add(entry);
    this.#count += 1;
    return entry;
  }

  #evict(): void {
    let most: Set<PendingConnection> | undefined;
    for (const entries of this.#bySource.values())
      if (most === undefined || entries.size > most.size) most = entries;
    const [oldest] = most ?? [];
    oldest?.settle();
    oldest?.cut();
  }
}

/** Who counts as one: an IPv4 address, or the 64 bits in front of an IPv6 address, which a single host may have whole. */
export function sourceOf(address = ''): string {
  const mapped = /^::ffff:([\d.]+)$/iu.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  if (!isIPv6(address)) return address;
  const [head = '', tail] = address.split('::');
  const front = head === '' ? [] : head.split(':');
  const back = tail === undefined || tail === '' ? [] : tail.split(':');
  const missing = tail === undefined ? 0 : Math.max(0, 8 - front.length - back.length);
  const groups = [...front, ...Array<string>(missing).fill('0'), ...back];
  return groups.slice(0, 4).join(':').toLowerCase();
}
