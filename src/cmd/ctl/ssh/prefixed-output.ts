/** The output of one node among others: whole lines, each with the node's name in front. */
import { Writable } from 'node:stream';

/** A line that is longer is broken here, bytes: many nodes at once must not fill memory. */
const MAX_LINE_BYTES = 64 * 1024;
const LINE_FEED = 0x0a;

/** Puts a prefix in front of lines, however they arrive. */
export class LinePrefixer {
  readonly #prefix: Buffer;
  #rest: Buffer = Buffer.alloc(0);

  constructor(prefix: string) {
    this.#prefix = Buffer.from(prefix);
  }

  /** The lines that are complete with this chunk; empty when none is. */
  feed(chunk: Buffer): Buffer {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const pieces: Buffer[] = [];
    let start = 0;
    for (let at = bytes.indexOf(LINE_FEED); at !== -1; at = bytes.indexOf(LINE_FEED, start)) {
      pieces.push(this.#prefix, bytes.subarray(start, at + 1));
      start = at + 1;
    }
    for (; bytes.length - start > MAX_LINE_BYTES; start += MAX_LINE_BYTES)
      pieces.push(this.#prefix, bytes.subarray(start, start + MAX_LINE_BYTES), Buffer.from('\n'));
    this.#rest = bytes.subarray(start);
    return Buffer.concat(pieces);
  }

  /** What is left without an end, with one. */
  end(): Buffer {
    const rest = this.#rest;
    this.#rest = Buffer.alloc(0);
    return rest.length === 0 ? rest : Buffer.concat([this.#prefix, rest, Buffer.from('\n')]);
  }
}

/** An output whose lines go to another one, with a prefix; ending it leaves the other one open. */
export function prefixedOutput(prefix: string, to: Writable): Writable {
  const prefixer = new LinePrefixer(prefix);
  const pass = (bytes: Buffer, done: (err?: Error | null) => void): void => {
    if (bytes.length === 0) done();
    else to.write(bytes, done);
  };
  return new Writable({
    write: (chunk: Buffer, _encoding, done) => pass(prefixer.feed(chunk), done),
    final: (done) => pass(prefixer.end(), done),
  });
}
