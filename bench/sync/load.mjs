// Opens connections at a steady rate whatever becomes of them, and says what became of each.
import { connect } from 'node:net';

/** A connection every so often to each consumer. */
const EVERY_MS = 50;
/** An application that waits longer has given up. */
const LIMIT_MS = 15_000;
/** From this on a connection counts as delayed; undisturbed ones take a few milliseconds. */
export const DELAYED_MS = 250;
/** Source addresses, so that a policy which goes by them has something to choose. */
const SOURCES = Array.from({ length: 8 }, (_, at) => `127.0.1.${at + 1}`);

/** One connection: whether the service answered, and how long that took. */
export function attempt(host, port, localAddress, limitMs = LIMIT_MS) {
  return new Promise((resolve) => {
    const startedAt = performance.now();
    let text = '';
    const socket = connect({ host, port, localAddress });
    const limit = setTimeout(() => socket.destroy(), limitMs);
    socket.on('data', (chunk) => (text += chunk));
    socket.on('error', () => {}); // the close tells
    socket.on('close', () => {
      clearTimeout(limit);
      resolve({ startedAt, tookMs: performance.now() - startedAt, isAnswered: text !== '', by: text });
    });
  });
}

/** Starts the load; `end()` resolves with the attempts by policy once all have ended. */
export function startLoad(targets) {
  const attempts = new Map(targets.map(({ policy }) => [policy, []]));
  const open = new Set();
  let turn = 0;
  const timer = setInterval(() => {
    for (const { policy, host, port } of targets) {
      const one = attempt(host, port, SOURCES[turn % SOURCES.length]).then((result) => {
        attempts.get(policy).push(result);
        open.delete(one);
      });
      open.add(one);
    }
    turn++;
  }, EVERY_MS);
  return {
    async end() {
      clearInterval(timer);
      await Promise.all(open);
      return attempts;
    },
  };
}

/** What became of the attempts that were made from `since` on. */
export function summarize(attempts, since) {
  const made = attempts.filter(({ startedAt }) => startedAt >= since);
  const failed = made.filter(({ isAnswered }) => !isAnswered);
  const delayed = made.filter(({ isAnswered, tookMs }) => isAnswered && tookMs >= DELAYED_MS);
  const answered = made.filter(({ isAnswered }) => isAnswered).map(({ tookMs }) => tookMs);
  const last = failed.at(-1);
  return {
    made: made.length,
    failed: failed.length,
    delayed: delayed.length,
    longestMs: Math.round(Math.max(0, ...answered)),
    /** From the event until the last connection that failed was opened. */
    failingMs: last === undefined ? 0 : Math.round(last.startedAt - since),
  };
}
