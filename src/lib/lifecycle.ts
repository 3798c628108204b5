/** What every long-running part offers its owner. */

/** A part with a start and an end. Both are idempotent; after stop() no handle is left behind. */
export interface Component {
  /** Resolves when the part is ready to do its work; rejects when it cannot start. */
  start(): Promise<void>;
  /** Drains and closes. Never rejects because the part was not running. */
  stop(): Promise<void>;
}

/** One reason why a component is not ready. */
export interface ReadinessCheck {
  name: string;
  /** Undefined when ready, else the reason in words. */
  problem(): string | undefined;
}

/** Settles when the promise does, or after `limitMs`, whichever is first; says whether it was in time. */
export async function within(promise: Promise<unknown>, limitMs: number): Promise<boolean> {
  let handle: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    handle = setTimeout(() => resolve(false), limitMs);
  });
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    clearTimeout(handle);
  }
}
