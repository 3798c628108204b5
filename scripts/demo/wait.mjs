// Waiting for conditions with a limit, and retrying what may fail for a while.

/** How long what comes in a moment may take: a busy machine may pause that long. */
export const PATIENCE_MS = 30_000;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Calls `attempt` until it resolves with something other than undefined and false, and resolves with that; gives
 * up after `limitMs` with what was awaited and why the last attempt failed.
 */
export async function until(what, limitMs, attempt) {
  const deadline = performance.now() + limitMs;
  for (;;) {
    let reason = '';
    try {
      const value = await attempt();
      if (value !== undefined && value !== false) return value;
    } catch (err) {
      if (err.isFinal === true) throw err;
      reason = `: ${err.message}`;
    }
    if (performance.now() > deadline) throw new Error(`${what}: not within ${limitMs / 1000} s${reason}`);
    await pause(50);
  }
}
