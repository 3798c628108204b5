/** Writes that an API server does not take although it answers: told once when it begins, and when it is over. */
import { ApiError } from '../apiclient/errors.ts';
import { errorMessage } from '../lib/errors.ts';
import type { Logger, LogFields } from '../lib/log.ts';

/** What is told. */
export interface TroubleTexts {
  begins: string;
  isOver: string;
}

/** See the file's first line. */
export class Trouble {
  readonly #log: Logger;
  readonly #texts: TroubleTexts;
  readonly #fields: LogFields;
  #isLasting = false;

  constructor(log: Logger, texts: TroubleTexts, fields: LogFields) {
    this.#log = log;
    this.#texts = texts;
    this.#fields = fields;
  }

  /** A write failed. That the server does not answer its followers tell, and a conflict is nobody's trouble. */
  failed(err: unknown): void {
    if (this.#isLasting || !(err instanceof ApiError) || err.statusCode === 409) return;
    this.#isLasting = true;
    const { hint } = err;
    this.#log.warn(this.#texts.begins, { ...this.#fields, error: errorMessage(err), hint });
  }

  /** A write was taken. */
  succeeded(): void {
    if (this.#isLasting) this.#log.info(this.#texts.isOver, this.#fields);
    this.#isLasting = false;
  }

  /** Notes how a write goes, and passes it on. */
  async watch<T>(write: Promise<T>): Promise<T> {
    try {
      const result = await write;
      this.succeeded();
      return result;
    } catch (err) {
      this.failed(err);
      throw err;
    }
  }
}
