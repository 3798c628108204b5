/**
 * Ends a session whose server is silent as soon as the server answers on a new connection: the old path is gone then (a NAT
 * that forgot, another address, a lost radio link), and what it still carried is lost. While the server answers nowhere the
 * session stays, so that a line that comes back in time goes on with what it carried.
 */
import { sleep } from '../../lib/clock.ts';
import type { Clock } from '../../lib/clock.ts';
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { SilenceWatch } from '../yamux/silence-watch.ts';
import { YamuxSession } from '../yamux/session.ts';
import { describeServer, dialServer } from './dial.ts';
import type { DialConfig } from './dial.ts';

/** A try ends after so long, milliseconds: the first packets go out at 0 and 1 s, so that none of them is missed by more. */
const TRY_MS = 2500;
/** Between two tries, milliseconds. */
const REST_MS = 250;
/** How often is looked whether the answer came, milliseconds. */
const LOOK_EVERY_MS = 25;
/** The old path may be back a moment after the new one, milliseconds. */
const GRACE_MS = 250;

/** Watches a session; answers what ends the watch. */
export function watchServer(session: YamuxSession, config: DialConfig, clock: Clock): () => void {
  let trial: AbortController | undefined;
  const stopTrial = (): void => {
    trial?.abort();
    trial = undefined;
  };
  const watch = new SilenceWatch(session, {
    clock,
    onChange: (isSilent) => {
      stopTrial();
      if (!isSilent) return;
      trial = new AbortController();
      const { signal } = trial;
      void whenAnswering(config, clock, signal).then(() => {
        if (signal.aborted) return;
        const where = describeServer(config.server);
        session.close(
          new TunnelError('timeout', `${where} is silent on this connection, and takes new ones`),
        );
      });
    },
  });
  return () => {
    watch.stop();
    stopTrial();
  };
}

/** Resolves when the server has answered on a new connection, or the signal aborts. Never rejects. */
async function whenAnswering(config: DialConfig, clock: Clock, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const isAnswering = await hasAnswer(config, clock, signal);
    await sleep(clock, isAnswering ? GRACE_MS : REST_MS, signal);
    if (isAnswering) return;
  }
}

/** Whether the server answers a ping on a connection of its own; that its machine accepts one says little. */
async function hasAnswer(config: DialConfig, clock: Clock, stopped: AbortSignal): Promise<boolean> {
  const late = new AbortController();
  const timer = clock.after(TRY_MS, () => late.abort());
  const signal = AbortSignal.any([stopped, late.signal]);
  let other: YamuxSession | undefined;
  try {
    const transport = await dialServer(config, signal);
    const handler = { onStream: (stream: ByteStream) => stream.destroy(), onClose: () => {} };
    other = new YamuxSession(transport, 'client', handler, { clock }); // asks as it begins
    while (other.roundTripMs === undefined && !other.isClosed && !signal.aborted)
      await sleep(clock, LOOK_EVERY_MS, signal);
    return other.roundTripMs !== undefined;
  } catch {
    return false; // asked again
  } finally {
    other?.close();
    timer.cancel();
  }
}
