/** The polite end of a stream: what is queued still leaves, then it closes, within a bound. */
import type { Clock } from '../lib/clock.ts';
import type { ByteStream } from './byte-stream.ts';

/** Ends a stream, drops what still arrives, and destroys it when the peer has not closed after `limitMs`. */
export function linger(stream: ByteStream, clock: Clock, limitMs: number): void {
  const timer = clock.after(limitMs, () => stream.destroy());
  stream.setHandler({
    onData: () => {},
    onEnd: () => {},
    onDrain: () => {},
    onClose: () => timer.cancel(),
  });
  stream.end();
  stream.resume();
}
