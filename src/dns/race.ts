/** One question to several upstreams: the next joins in when one is late or has failed, and the first good answer wins. */
import { RCODE } from './wire.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import type { Reply } from './wire.ts';

/** What a race needs; `Entrant` is an upstream. */
export interface RaceOptions<Entrant> {
  /** In the order in which they are asked; one may come twice. */
  entrants: readonly Entrant[];
  clock: Clock;
  /** For all of it, milliseconds. */
  totalMs: number;
  /** For one try, milliseconds. */
  tryMs: number;
  /** How long this one may take before the next is asked too, milliseconds. */
  patienceMs: (entrant: Entrant, next: Entrant) => number;
  /** Asks one; undefined is a failure. It must not reject, and end soon after the abort. */
  ask: (entrant: Entrant, limitMs: number, abandoned: AbortSignal) => Promise<Reply | undefined>;
  /** Told when one has used up its patience. */
  onLate: (entrant: Entrant) => void;
  /** Whether tries that lost may go on, so that it is known how their upstreams do; else they are aborted. */
  mayLinger: () => boolean;
}

/** Resolves with the first final answer, else with the last one there was, else undefined; in time, whatever they do. */
export function race<Entrant>(options: RaceOptions<Entrant>): Promise<Reply | undefined> {
  const { clock, totalMs, tryMs, patienceMs, ask, onLate, mayLinger } = options;
  const waiting = [...options.entrants];
  const deadline = clock.now() + totalMs;
  const abandoned = new AbortController();
  return new Promise((resolve) => {
    let open = 0;
    let isDecided = false;
    let last: Reply | undefined;
    let patience: Timer | undefined;

    const decide = (reply: Reply | undefined): void => {
      isDecided = true;
      patience?.cancel();
      if (open > 0 && !mayLinger()) abandoned.abort();
      resolve(reply);
    };

    const askNext = (): void => {
      patience?.cancel();
      const leftMs = deadline - clock.now();
      const entrant = leftMs > 0 ? waiting.shift() : undefined;
      if (entrant === undefined) {
        if (open === 0) decide(last);
        return;
      }
      open += 1;
      const next = waiting[0];
      if (next !== undefined) {
        patience = clock.after(patienceMs(entrant, next), () => {
          onLate(entrant);
          askNext();
        });
      }
      void ask(entrant, Math.min(leftMs, tryMs), abandoned.signal).then((reply) => {
        open -= 1;
        if (isDecided) return;
        if (reply !== undefined && isFinal(reply.rcode)) decide(reply);
        else {
          last = reply ?? last;
          askNext();
        }
      });
    };

    askNext();
  });
}

// NXDOMAIN is an answer; SERVFAIL and REFUSED may be this one server's trouble.
function isFinal(rcode: number): boolean {
  return rcode === RCODE.NOERROR || rcode === RCODE.NXDOMAIN;
}
