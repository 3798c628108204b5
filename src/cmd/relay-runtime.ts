/** Sets V8 up for processes that relay bytes; call it before the first connection. */
import { setFlagsFromString } from 'node:v8';
import { systemClock } from '../lib/clock.ts';
import { readBuffers } from '../tunnel/read-buffers.ts';

/** Read buffers that were not needed for this long are given up, milliseconds. */
const TRIM_MS = 5000;

/**
 * Every read allocates a buffer outside V8's heap. By default V8 frees them on worker threads, where they fight
 * with the reading thread over malloc: measured on two cores, a relayed GiB then costs twice the processor time.
 */
export function tuneForRelaying(): void {
  setFlagsFromString('--no-concurrent-array-buffer-sweeping');
  systemClock.every(TRIM_MS, () => readBuffers.trim());
}
