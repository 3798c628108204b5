/** Hands a run id from one login to the next: the newest wins, and is answered once its predecessor left nothing behind. */

/** What a predecessor can do. */
export interface Predecessor {
  /** Ends it at once, its transport included: it is most likely dead without knowing. */
  cut(): void;
  /** Resolves when its last proxy is gone; never rejects. */
  settled(): Promise<void>;
}

/** Logins that wait for their run id; one waits for each id, the others were overtaken. */
export class Handovers {
  readonly #newest = new Map<string, { done: Promise<void> }>();

  /** Takes a run id over. False: a newer login for it came meanwhile, and this one lost. */
  async take(runId: string, predecessor: Predecessor | undefined): Promise<boolean> {
    const overtaken = this.#newest.get(runId);
    if (predecessor === undefined && overtaken === undefined) return true;
    predecessor?.cut();
    const turn = { done: settleBoth(predecessor, overtaken) };
    this.#newest.set(runId, turn);
    await turn.done;
    if (this.#newest.get(runId) !== turn) return false;
    this.#newest.delete(runId);
    return true;
  }
}

async function settleBoth(
  predecessor: Predecessor | undefined,
  overtaken: { done: Promise<void> } | undefined,
): Promise<void> {
  await predecessor?.settled();
  await overtaken?.done;
}
