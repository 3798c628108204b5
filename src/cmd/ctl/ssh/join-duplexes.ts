/** Two duplexes as one connection: bytes both ways at the pace of the slower, half-close kept, a break of one ends both. */
import type { Duplex } from 'node:stream';

/** Joins them. Neither may have been read from. */
export function joinDuplexes(a: Duplex, b: Duplex): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.on('close', () => {
      // an end has been passed on by the pipe; anything else is a break
      if (!from.readableEnded) to.destroy();
    });
  }
}
