/** Splits a byte stream into yamux frames; keeps its place between chunks and never copies a body. */
import { FRAME_TYPE, HEADER_BYTES, PROTOCOL_VERSION } from './frame.ts';
import { YamuxError } from './errors.ts';

/** Who is told what was decoded. */
export interface FrameSink {
  /** A header. For data frames the body follows, for the others the frame is complete. */
  onHeader(type: number, flags: number, streamId: number, length: number): void;
  /** A piece of the body of the last data frame; pieces of one frame add up to its length. True as of ByteStreamHandler.onData. */
  onBody(piece: Buffer): boolean;
  /** The last data frame is complete; comes for empty ones too. */
  onBodyEnd(): void;
}

/** Decodes frames. Throws YamuxError on an unknown version or type; the session is over then. */
export class FrameDecoder {
  readonly #sink: FrameSink;
  readonly #partial = Buffer.alloc(HEADER_BYTES);
  #partialBytes = 0;
  #bodyLeft = 0;

  constructor(sink: FrameSink) {
    this.#sink = sink;
  }

  /** Takes the next bytes; answers as ByteStreamHandler.onData does. */
  push(chunk: Buffer): boolean {
    let at = 0;
    let isPassedOn = true;
    while (at < chunk.length) {
      if (this.#bodyLeft > 0) {
        const end = Math.min(at + this.#bodyLeft, chunk.length);
        this.#bodyLeft -= end - at;
        const piece = at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end);
        if (!this.#sink.onBody(piece)) isPassedOn = false;
        at = end;
        if (this.#bodyLeft === 0) this.#sink.onBodyEnd();
      } else if (this.#partialBytes === 0 && chunk.length - at >= HEADER_BYTES) {
        this.#header(chunk, at);
        at += HEADER_BYTES;
      } else {
        const end = Math.min(at + HEADER_BYTES - this.#partialBytes, chunk.length);
        chunk.copy(this.#partial, this.#partialBytes, at, end);
        this.#partialBytes += end - at;
        at = end;
        if (this.#partialBytes < HEADER_BYTES) return isPassedOn;
        this.#partialBytes = 0;
        this.#header(this.#partial, 0);
      }
    }
    return isPassedOn;
  }

  #header(from: Buffer, at: number): void {
    const version = from[at];
    const type = from[at + 1] ?? 0;
    if (version !== PROTOCOL_VERSION)
      throw new YamuxError('protocol', `peer speaks version ${version}, wanted 0`);
    if (type > FRAME_TYPE.goAway)
      throw new YamuxError('protocol', `peer sent a frame of unknown type ${type}`);
    const length = from.readUInt32BE(at + 8);
    this.#sink.onHeader(type, from.readUInt16BE(at + 2), from.readUInt32BE(at + 4), length);
    if (type !== FRAME_TYPE.data) return;
    this.#bodyLeft = length;
    if (length === 0) this.#sink.onBodyEnd();
  }
}
