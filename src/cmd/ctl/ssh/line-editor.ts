/** What somebody types into one line of a terminal in raw mode: editing keys, the end, giving up. Pure. */
import { StringDecoder } from 'node:string_decoder';

/** What a line editor has come to. */
export type LineState = 'typing' | 'done' | 'given-up';

const CTRL_C = '\u0003';
const CTRL_D = '\u0004';
const BACKSPACES = new Set(['\b', '\u007F']);
const CTRL_U = '\u0015';

/** Longest answer, characters. */
const MAX_LENGTH = 4096;

/** Collects one line. */
export class LineEditor {
  readonly #decoder = new StringDecoder('utf8');
  #chars: string[] = [];
  #state: LineState = 'typing';

  /** The line so far. */
  get text(): string {
    return this.#chars.join('');
  }

  /** Takes what was typed; answers the state and what a terminal with echo shows for it. */
  feed(bytes: Buffer): { state: LineState; echo: string } {
    let echo = '';
    for (const char of this.#decoder.write(bytes)) {
      if (this.#state !== 'typing') break;
      if (char === '\r' || char === '\n') this.#state = 'done';
      else if (char === CTRL_C || (char === CTRL_D && this.#chars.length === 0)) this.#state = 'given-up';
      else if (BACKSPACES.has(char)) {
        if (this.#chars.pop() !== undefined) echo += '\b \b';
      } else if (char === CTRL_U) {
        echo += '\b \b'.repeat(this.#chars.length);
        this.#chars = [];
      } else if (char >= ' ' && this.#chars.length < MAX_LENGTH) {
        this.#chars.push(char);
        echo += char;
      }
    }
    return { state: this.#state, echo };
  }
}
