/** Messages out of a TCP stream: two bytes of length, then the message (RFC 1035 4.2.2), split wherever the network likes. */

const PREFIX_BYTES = 2;

/** Adds the length prefix. */
export function frame(message: Uint8Array): Buffer {
  const out = Buffer.allocUnsafe(PREFIX_BYTES + message.length);
  out.writeUInt16BE(message.length, 0);
  out.set(message, PREFIX_BYTES);
  return out;
}

/** Keeps its place between chunks; holds at most one message that is not whole (65,537 bytes) beside the last chunk. */
export class FrameReader {
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** Bytes that the message being read takes with its prefix; joining chunks earlier would cost quadratic time. */
  #wantedBytes = PREFIX_BYTES;

  /** Takes the next bytes and returns the messages that are whole now, in order. */
  push(chunk: Buffer): Buffer[] {
    this.#held.push(chunk);
    this.#heldBytes += chunk.length;
    const messages: Buffer[] = [];
    if (this.#heldBytes < this.#wantedBytes) return messages;
    const bytes = this.#held.length === 1 ? chunk : Buffer.concat(this.#held);
    let offset = 0;
    this.#wantedBytes = PREFIX_BYTES;
    while (bytes.length - offset >= PREFIX_BYTES) {
      const end = offset + PREFIX_BYTES + bytes.readUInt16BE(offset);
      if (end > bytes.length) {
        this.#wantedBytes = end - offset;
        break;
      }
      messages.push(bytes.subarray(offset + PREFIX_BYTES, end));
      offset = end;
    }
    // A copy, so that a few left-over bytes do not keep the whole chunk alive.
    this.#held = offset === bytes.length ? [] : [Buffer.from(bytes.subarray(offset))];
    this.#heldBytes = bytes.length - offset;
    return messages;
  }
}
