/** Waits until an object is deleted. */
import type { ResourceRef } from '../../api/meta.ts';
import type { ApiClient } from '../../apiclient/client.ts';
import { isNotFound } from '../../apiclient/errors.ts';
import { sleep, systemClock } from '../../lib/clock.ts';

/** Deletions are quick unless a finalizer holds them, so the looks become rarer. */
const FIRST_LOOK_MS = 50;
const SLOWEST_LOOK_MS = 1000;

/** Resolves true when the object, or this incarnation of it, is gone; false after `limitMs`. */
export async function waitUntilGone(
  client: ApiClient,
  resource: ResourceRef,
  name: string,
  uid: string | undefined,
  limitMs: number,
): Promise<boolean> {
  const deadline = systemClock.now() + limitMs;
  // the clock's timers do not keep the process alive, this does
  const keepAlive = setInterval(() => {}, 60_000);
  try {
    for (let delayMs = FIRST_LOOK_MS; ; delayMs = Math.min(delayMs * 2, SLOWEST_LOOK_MS)) {
      try {
        const live = await client.get(resource, name);
        if (uid !== undefined && live.metadata.uid !== uid) return true;
      } catch (err) {
        if (isNotFound(err)) return true;
        throw err;
      }
      const leftMs = deadline - systemClock.now();
      if (leftMs <= 0) return false;
      await sleep(systemClock, Math.min(delayMs, leftMs));
    }
  } finally {
    clearInterval(keepAlive);
  }
}
