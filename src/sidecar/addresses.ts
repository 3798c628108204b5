/** Stable addresses of mapped services: the same name gets the same address, on every node and after every restart. */
import { createHash } from 'node:crypto';
import { isIP } from 'node:net';
import { ipv4ToNumber, numberToIpv4 } from '../lib/address.ts';
import { UsageError } from '../lib/errors.ts';

/** An IPv4 range whose usable addresses are numbered from 0. */
export interface AddressRange {
  /** As written, `127.0.66.0/24`. */
  readonly text: string;
  /** Usable addresses: no network, no broadcast, no last octet 0 or 255, which programs treat specially. */
  readonly size: number;
  /** The address with this number, 0 to size - 1. */
  at(index: number): string;
  /** The number of an address; undefined when it is not a usable one of the range. */
  indexOf(address: string): number | undefined;
}

/** Usable addresses of a /24, and the most of any smaller block. */
const BLOCK_HOSTS = 254;

/** Parses `A.B.C.D/N`, N from 8 to 30. Throws UsageError that names `what`. */
export function parseRange(text: string, what: string): AddressRange {
  const match = /^([^/]+)\/(\d{1,2})$/u.exec(text.trim());
  const prefix = Number(match?.[2]);
  if (match?.[1] === undefined || isIP(match[1]) !== 4 || prefix > 32) {
    throw new UsageError(`${what}: "${text}" is not an IPv4 range such as 127.0.66.0/24`);
  }
  if (prefix < 8 || prefix > 30) throw new UsageError(`${what}: the range ${text} is not between /8 and /30`);
  const total = 2 ** (32 - prefix);
  const given = ipv4ToNumber(match[1]);
  const base = given - (given % total);
  // Larger ranges are whole /24 blocks of 254 addresses; a smaller one leaves out its own first and last.
  const size = total >= 256 ? (total / 256) * BLOCK_HOSTS : total - 2;
  return {
    text: text.trim(),
    size,
    at: (index) => numberToIpv4(base + Math.floor(index / BLOCK_HOSTS) * 256 + (index % BLOCK_HOSTS) + 1),
    indexOf: (address) => {
      if (isIP(address) !== 4) return undefined;
      const offset = ipv4ToNumber(address) - base;
      const host = (offset % 256) - 1;
      const index = Math.floor(offset / 256) * BLOCK_HOSTS + host;
      return offset < 0 || offset >= total || host < 0 || host >= BLOCK_HOSTS || index >= size
        ? undefined
        : index;
    },
  };
}

/** Where a name's search begins: sha256 spreads short, similar names evenly over the range. */
export function preferredIndex(key: string, size: number): number {
  return createHash('sha256').update(key).digest().readUInt32BE(0) % size;
}

/** Gives each service its address; takes constant time a service while the range is not nearly full. */
export class AddressBook {
  readonly #range: AddressRange;
  /** Least recently wanted first, which is the order of reclaiming. */
  readonly #indexes = new Map<string, number>();
  readonly #owners = new Map<number, string>();

  constructor(range: AddressRange) {
    this.#range = range;
  }

  /** Takes over remembered addresses; entries outside the range, or taken twice, are left out. */
  restore(addresses: Readonly<Record<string, string>>): void {
    for (const [key, address] of Object.entries(addresses)) {
      const index = this.#range.indexOf(address);
      if (index !== undefined && !this.#owners.has(index) && !this.#indexes.has(key)) this.#set(key, index);
    }
  }

  /**
   * Makes sure that every service has an address. Addresses of other services stay remembered until the range is
   * full. Throws UsageError, with nothing changed, when there are more services than addresses.
   */
  assign(keys: readonly string[]): ReadonlyMap<string, string> {
    const wanted = [...new Set(keys)].sort(); // sorted: collisions resolve alike on every node
    if (wanted.length > this.#range.size) {
      const left = wanted[this.#range.size] ?? '';
      throw new UsageError(
        `address range ${this.#range.text} has ${this.#range.size} usable addresses, ${wanted.length} services need one: none left for ${left}`,
        { hint: 'set SIDECAR_IP_RANGE to a larger range, such as 127.66.0.0/16' },
      );
    }
    for (const key of wanted) {
      const index = this.#indexes.get(key);
      if (index === undefined) continue;
      this.#indexes.delete(key); // moves to the end: wanted now, so reclaimed last
      this.#indexes.set(key, index);
    }
    const inUse = new Set(wanted);
    for (const key of wanted) if (!this.#indexes.has(key)) this.#set(key, this.#freeIndex(key, inUse));
    return new Map(wanted.map((key) => [key, this.#range.at(this.#indexes.get(key) ?? 0)]));
  }

  /** Everything remembered, for the cache. */
  snapshot(): Record<string, string> {
    return Object.fromEntries([...this.#indexes].map(([key, index]) => [key, this.#range.at(index)]));
  }

  #freeIndex(key: string, inUse: ReadonlySet<string>): number {
    const { size } = this.#range;
    if (this.#owners.size >= size) this.#reclaim(inUse);
    let index = preferredIndex(key, size);
    while (this.#owners.has(index)) index = (index + 1) % size;
    return index;
  }

  /** Forgets the service that has been unwanted longest; there is one, since fewer are wanted than the range holds. */
  #reclaim(inUse: ReadonlySet<string>): void {
    for (const [key, index] of this.#indexes) {
      if (inUse.has(key)) continue;
      this.#indexes.delete(key);
      this.#owners.delete(index);
      return;
    }
  }

  #set(key: string, index: number): void {
    this.#indexes.set(key, index);
    this.#owners.set(index, key);
  }
}
