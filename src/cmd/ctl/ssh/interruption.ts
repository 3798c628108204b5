/** Signals that end this program, as something a verb can wait for: it then closes what is open and writes its audit. */
import { constants } from 'node:os';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** A signal that ends the program. */
export type EndSignal = (typeof SIGNALS)[number];

/** Listens until `stop`; a second signal ends the program as if nobody listened. */
export function onInterruption(handler: (signal: EndSignal) => void): { stop: () => void } {
  const listeners = SIGNALS.map((signal) => {
    const listener = (): void => {
      stop();
      handler(signal);
    };
    process.on(signal, listener);
    return { signal, listener };
  });
  const stop = (): void => {
    for (const { signal, listener } of listeners) process.off(signal, listener);
  };
  return { stop };
}

/** The exit status of a program whose reader has left, as a SIGPIPE would make it. */
export const STATUS_BROKEN_PIPE = 128 + constants.signals.SIGPIPE;

/** Lets a verb hear that the reader of stdout has left, which otherwise ends the program before it has written its audit. */
export function hearBrokenPipe(): void {
  process.stdout.removeAllListeners('error').on('error', () => {});
}

/** The exit status of a program that a signal ended, as shells give it. */
export function statusOfSignal(signal: EndSignal): number {
  return 128 + constants.signals[signal];
}
