/** The providers of one service as one connection sees them: where it had no luck, who is left out for all, who remains. */
import type { ProviderWatch } from './attempt.ts';
import { MAX_AVOIDED } from './outliers.ts';
import type { Outliers } from './outliers.ts';

/** See the file's first line. */
export class ProviderLuck implements ProviderWatch {
  readonly #outliers: Outliers;
  readonly #known: () => readonly (readonly string[])[];
  readonly #refused = new Set<string>();
  #leftOut: readonly string[] = [];

  /** `known` gives the providers that are ready, by Router. */
  constructor(outliers: Outliers, known: () => readonly (readonly string[])[]) {
    this.#outliers = outliers;
    this.#known = known;
  }

  /** Draws anew which of those that come back little by little are left out for the next tries. */
  draw(): void {
    this.#leftOut = this.#outliers.avoided();
  }

  /** Whom to stay away from if there are others: its own bad luck first, a few at most. */
  avoided(): string[] {
    const newestFirst = [...this.#refused].reverse();
    return [...new Set([...newestFirst, ...this.#leftOut])].slice(0, MAX_AVOIDED);
  }

  hasOther(provider: string): boolean {
    // One that comes again, although it was to be avoided, is all that there is.
    if (this.#refused.has(provider) || this.#refused.size >= MAX_AVOIDED) return false;
    const isOpen = (id: string): boolean =>
      id !== provider && !this.#refused.has(id) && !this.#outliers.isLeftOut(id);
    return this.#known().some((ids) => ids.some(isOpen));
  }

  late(provider: string): void {
    this.#outliers.late(provider);
  }

  failed(provider: string, isSilent: boolean): boolean {
    const mayMove = this.hasOther(provider);
    this.#refused.add(provider);
    this.#outliers.failed(provider, isSilent);
    return mayMove;
  }
}
