/** One-use tickets for WebSockets of browsers, which can send no Authorization header: short-lived, for one node. */
import { createHash, randomBytes } from 'node:crypto';
import { statusError } from '../../api/status.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Admission } from '../adapter/admission.ts';

/** Tickets that wait for their use; with more nobody gets one until the oldest have expired. */
const MAX_TICKETS = 1024;
/** A page opens its WebSocket at once. */
export const TICKET_LIFETIME_MS = 30_000;
const TICKET_BYTES = 32;

interface Grant {
  admission: Admission;
  node: string;
  expiresAt: number;
}

/** The tickets of one API server. */
export class Tickets {
  readonly #clock: Clock;
  readonly #random: (bytes: number) => Buffer;
  /** By the ticket's hash, so that looking one up tells nothing about others. In the order of their making. */
  readonly #grants = new Map<string, Grant>();

  constructor(clock: Clock, random: (bytes: number) => Buffer = randomBytes) {
    this.#clock = clock;
    this.#random = random;
  }

  /** Makes a ticket for the terminal of one object. */
  issue(admission: Admission, node: string): string {
    this.#expire();
    if (this.#grants.size >= MAX_TICKETS)
      throw statusError('TooManyRequests', 'too many tickets wait for their use', { retryAfterSeconds: 30 });
    const ticket = this.#random(TICKET_BYTES).toString('hex');
    this.#grants.set(hash(ticket), {
      admission,
      node,
      expiresAt: this.#clock.now() + TICKET_LIFETIME_MS,
    });
    return ticket;
  }

  /** Takes a ticket; undefined when it is unknown, used, expired or for another node. It is gone in any case. */
  redeem(ticket: string, node: string): Admission | undefined {
    this.#expire();
    const key = hash(ticket);
    const grant = this.#grants.get(key);
    this.#grants.delete(key);
    return grant?.node === node ? grant.admission : undefined;
  }

  #expire(): void {
    const now = this.#clock.now();
    for (const [key, { expiresAt }] of this.#grants) {
      if (expiresAt > now) return;
      this.#grants.delete(key);
    }
  }
}

function hash(ticket: string): string {
  return createHash('sha256').update(ticket).digest('hex');
}
