/** Asks questions in a terminal that has no shell yet, as login(1) does: echo, erasing, giving up. Touches no socket. */

/** Where the other half of the conversation is. */
export interface PrompterDeps {
  /** Sends text to the terminal. */
  write: (text: string) => void;
}

/** Keys typed ahead that are kept, bytes; more are dropped. */
const MAX_AHEAD_BYTES = 8192;
/** The longest answer, bytes. */
const MAX_ANSWER_BYTES = 1024;

const ETX = 0x03; // ^C
const EOT = 0x04; // ^D
const BS = 0x08;
const LF = 0x0a;
const CR = 0x0d;
const NAK = 0x15; // ^U
const ESC = 0x1b;
const DEL = 0x7f;

interface Question {
  isEchoed: boolean;
  answer: number[];
  done: (answer: string | undefined) => void;
}

/** One terminal's questions, one at a time. */
export class Prompter {
  readonly #write: (text: string) => void;
  #ahead: number[] = [];
  #question: Question | undefined;
  /** Whether the bytes that come are the rest of an escape sequence, as arrow keys send. */
  #isInEscape = false;
  #isCancelled = false;

  constructor({ write }: PrompterDeps) {
    this.#write = write;
  }

  /** Asks; undefined when the user gives up with ^C or ^D, and after cancel(). */
  ask(text: string, isEchoed: boolean): Promise<string | undefined> {
    if (this.#isCancelled) return Promise.resolve(undefined);
    this.#write(text);
    return new Promise((resolve) => {
      this.#question = { isEchoed, answer: [], done: resolve };
      this.#work();
    });
  }

  /** Takes keystrokes; those that come before a question wait for it. */
  feed(bytes: Uint8Array): void {
    for (const byte of bytes) if (this.#ahead.length < MAX_AHEAD_BYTES) this.#ahead.push(byte);
    this.#work();
  }

  /** Ends the question that is open, and all later ones, without an answer. */
  cancel(): void {
    this.#isCancelled = true;
    this.#end(undefined);
  }

  /** The keystrokes that no question took; they are the shell's. */
  takeRest(): Buffer {
    const rest = Buffer.from(this.#ahead);
    this.#ahead = [];
    return rest;
  }

  #work(): void {
    while (this.#question !== undefined) {
      const byte = this.#ahead.shift();
      if (byte === undefined) return;
      this.#key(this.#question, byte);
    }
  }

  #key(question: Question, byte: number): void {
    const { answer, isEchoed } = question;
    if (this.#isInEscape) {
      // ESC [ … letter, or ESC O letter
      this.#isInEscape = !(byte >= 0x40 && byte <= 0x7e && byte !== 0x5b && byte !== 0x4f);
      return;
    }
    switch (byte) {
      case CR:
      case LF:
        // CR LF is one end of line
        if (byte === CR && this.#ahead[0] === LF) this.#ahead.shift();
        this.#write('\r\n');
        this.#end(Buffer.from(answer).toString('utf8'));
        return;
      case ETX:
      case EOT:
        this.#write('\r\n');
        this.#end(undefined);
        return;
      case BS:
      case DEL:
        this.#erase(question);
        return;
      case NAK:
        while (answer.length > 0) this.#erase(question);
        return;
      case ESC:
        this.#isInEscape = true;
        return;
      default:
        if (byte < 0x20 || answer.length >= MAX_ANSWER_BYTES) return;
        answer.push(byte);
        if (isEchoed) this.#echo(answer);
    }
  }

  /** Echoes a character once its last byte is there. */
  #echo(answer: readonly number[]): void {
    let start = answer.length - 1;
    while (start > 0 && ((answer[start] ?? 0) & 0xc0) === 0x80) start--;
    const character = Buffer.from(answer.slice(start)).toString('utf8');
    if (!character.includes('\uFFFD')) this.#write(character);
  }

  #erase({ answer, isEchoed }: Question): void {
    let byte = answer.pop();
    if (byte === undefined) return;
    while (byte !== undefined && (byte & 0xc0) === 0x80) byte = answer.pop();
    if (isEchoed) this.#write('\b \b');
  }

  #end(answer: string | undefined): void {
    const question = this.#question;
    this.#question = undefined;
    question?.done(answer);
  }
}
