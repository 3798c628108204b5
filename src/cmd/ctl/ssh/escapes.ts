/** OpenSSH's escape keys: `~` at the beginning of a line, and a character that says what to do. Pure. */

/** What an escape asks for. */
export type EscapeAction = 'disconnect' | 'suspend' | 'help';

/** What `~?` shows. */
export const ESCAPE_HELP = [
  'Escapes, at the beginning of a line:',
  '  ~.   end the session, also when the node does not answer',
  '  ~^Z  suspend this program',
  '  ~?   this help',
  '  ~~   a tilde',
].join('\r\n');

const TILDE = 0x7e;
const ACTIONS: ReadonlyMap<number, EscapeAction> = new Map([
  [0x2e, 'disconnect'],
  [0x1a, 'suspend'],
  [0x3f, 'help'],
]);

/** Takes escapes out of what is typed. */
export class EscapeFilter {
  #isLineStart = true;
  #isEscaped = false;

  /** The bytes that go to the node, and what was asked for, in order of typing. */
  feed(bytes: Uint8Array): { data: Buffer; actions: EscapeAction[] } {
    const data: number[] = [];
    const actions: EscapeAction[] = [];
    for (const byte of bytes) {
      if (this.#isEscaped) {
        this.#isEscaped = false;
        const action = ACTIONS.get(byte);
        if (action !== undefined) {
          actions.push(action);
          this.#isLineStart = true;
          continue;
        }
        data.push(TILDE);
        this.#isLineStart = false;
        if (byte === TILDE) continue;
      } else if (this.#isLineStart && byte === TILDE) {
        this.#isEscaped = true;
        continue;
      }
      data.push(byte);
      this.#isLineStart = byte === 0x0d || byte === 0x0a;
    }
    return { data: Buffer.from(data), actions };
  }
}
