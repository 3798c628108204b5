/**
 * The byte stream that every layer of the tunnel speaks: sockets, mux streams, encrypted and compressed ones.
 * Leaner than Node's Duplex (no per-chunk state machine), half-close is explicit, and what is queued is counted in bytes.
 */

/** What the owner of a stream is told. Calls never come from inside the owner's own call to the stream. */
export interface ByteStreamHandler {
  /**
   * Bytes arrived; the chunk belongs to the handler. It may answer true when whoever keeps a part of the chunk has a
   * hold of its loan (read-buffers.ts): its memory is read into again then, later.
   */
  onData(chunk: Buffer): boolean | void;
  /** The peer will send no more; writing is still allowed. At most once. */
  onEnd(): void;
  /** `queuedBytes` fell to LOW_WATER_BYTES or less after having been above it. */
  onDrain(): void;
  /** The stream is over, both ways; always the last call, exactly once. `err` is absent after a clean end. */
  onClose(err?: Error): void;
}

/** A bidirectional stream of bytes. */
export interface ByteStream {
  /**
   * Queues bytes; the stream owns the chunk from here on and nobody may change it. Never blocks: the writer
   * watches `queuedBytes` and stops its own source above HIGH_WATER_BYTES. Ignored after end() or a close. True says
   * that the stream is done with the chunk or has a hold of its loan (read-buffers.ts).
   */
  write(chunk: Uint8Array): boolean | void;
  /** Sends what is queued, then half-closes: the peer sees the end, data from the peer still arrives. */
  end(): void;
  /** Drops the stream at once in both directions; the peer sees a reset. onClose follows. Idempotent. */
  destroy(err?: Error): void;
  /** Stops onData (and onEnd); what arrives meanwhile is bounded by the transport's window. */
  pause(): void;
  /** Starts onData again. A stream begins paused and needs a handler before the first resume(). */
  resume(): void;
  /** Bytes written that the transport has not yet taken. */
  readonly queuedBytes: number;
  /** Bytes in memory for it, both ways: queued, and received while paused. `queuedBytes` where it is absent. */
  readonly heldBytes?: number;
  /** Sets who is told; replaces an earlier handler, as when a stream changes hands. */
  setHandler(handler: ByteStreamHandler): void;
}

/**
 * A writer stops its source when this much is queued. Pacing by Node's default mark (16 KiB) stalls one
 * stream to a fraction of what it can carry; 1 MiB a direction keeps three hops busy.
 */
export const HIGH_WATER_BYTES = 1024 * 1024;
/** A writer starts its source again when no more than this is queued. */
export const LOW_WATER_BYTES = 256 * 1024;
