/** Hands committed changes to subscribers, in revision order and without queues: a subscriber that lags reads history. */
import type { Change, Subscription } from './store.ts';

/** Receives the changes of one commit; must not throw and must not wait. */
export type ChangeListener = (changes: readonly Change[]) => void;

/** The subscribers of every resource. */
export class Broadcaster {
  readonly #listeners = new Map<string, Set<ChangeListener>>();

  subscribe(resource: string, listener: ChangeListener): Subscription {
    let listeners = this.#listeners.get(resource);
    if (listeners === undefined) this.#listeners.set(resource, (listeners = new Set()));
    listeners.add(listener);
    return { stop: () => void listeners.delete(listener) };
  }

  publish(changes: readonly Change[]): void {
    for (const [resource, listeners] of this.#listeners) {
      if (listeners.size === 0) continue;
      const own = changes.filter((change) => change.stored.resource === resource);
      if (own.length > 0) for (const listener of listeners) listener(own);
    }
  }
}
