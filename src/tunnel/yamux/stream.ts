/**
 * One stream of a mux session: windows both ways, half-close, reset. Touches no socket: frames leave through a port.
 *
 *     open ──end()──▶ local half closed ──FIN──▶ closed        any state ──RST, destroy(), session end──▶ closed
 *          ──FIN────▶ remote half closed ─end()─▶ closed
 */
import type { Clock } from '../../lib/clock.ts';
import { LOW_WATER_BYTES } from '../byte-stream.ts';
import type { ByteStream, ByteStreamHandler } from '../byte-stream.ts';
import { ChunkQueue } from './chunk-queue.ts';
import { YamuxError } from './errors.ts';
import { FLAG, FRAME_TYPE, INITIAL_WINDOW_BYTES } from './frame.ts';

/** What a session does for its streams. */
export interface StreamPort {
  readonly clock: Clock;
  readonly maxWindowBytes: number;
  /** Last measured round trip, milliseconds; generous before the first measurement. */
  roundTripMs(): number;
  /** Whether the transport takes more payload now. */
  canSend(): boolean;
  /** Sends a data frame; answers as ByteStream.write does. */
  sendData(streamId: number, body: Uint8Array): boolean | void;
  /** Sends a frame without a body. */
  sendControl(type: number, flags: number, streamId: number, length: number): void;
  /** Calls the stream's pump() when the transport takes more. */
  waitToSend(stream: YamuxStream): void;
  /** Grants up to `bytes` of window beyond the initial one, out of the session's budget. */
  takeGrowth(bytes: number): number;
  /** The stream is done: forget it, and take its growth back. */
  retire(stream: YamuxStream, growthBytes: number): void;
}

/** From here on a window is large. */
const LARGE_WINDOW_BYTES = 1024 * 1024;
/** One frame's share when several streams compete, bytes; also keeps a large write from blocking the rest. */
const MAX_FRAME_BYTES = 64 * 1024;

/** A mux stream; see ByteStream for the rules of use. */
export class YamuxStream implements ByteStream {
  readonly id: number;
  readonly #port: StreamPort;
  #handler: ByteStreamHandler | undefined;

  #sendWindow = INITIAL_WINDOW_BYTES;
  readonly #sendQueue = new ChunkQueue();
  #wasAboveLow = false;
  /** A SYN has left; before that nothing may be sent. */
  #isOpened: boolean;
  #isEndRequested = false;
  #isFinSent = false;

  #receiveWindow = INITIAL_WINDOW_BYTES;
  #windowLimit = INITIAL_WINDOW_BYTES;
  #lastUpdateAt: number;
  readonly #received = new ChunkQueue();
  #isPaused = true;
  #isDeliveryScheduled = false;
  #isFinReceived = false;
  #hasActivity = false;
  #isEndDelivered = false;

  #isRetired = false;
  #isClosed = false;
  #error: Error | undefined;

  constructor(id: number, port: StreamPort, isOpened: boolean) {
    this.id = id;
    this.#port = port;
    this.#isOpened = isOpened;
    this.#lastUpdateAt = port.clock.now();
  }

  get queuedBytes(): number {
    return this.#sendQueue.bytes;
  }

  get heldBytes(): number {
    return this.#sendQueue.bytes + this.#received.bytes;
  }

  /** Whether data arrived since the last call: a half-closed stream may live as long as the peer sends. */
  takeActivity(): boolean {
    const hasActivity = this.#hasActivity;
    this.#hasActivity = false;
    return hasActivity;
  }

  setHandler(handler: ByteStreamHandler): void {
    this.#handler = handler;
    if (this.#isClosed) process.nextTick(() => handler.onClose(this.#error));
  }

  write(chunk: Uint8Array): boolean | void {
    if (this.#isEndRequested || this.#isRetired || chunk.length === 0) return true;
    if (
      this.#sendQueue.bytes === 0 &&
      chunk.length <= this.#sendWindow &&
      chunk.length <= MAX_FRAME_BYTES &&
      this.#isOpened &&
      this.#port.canSend()
    ) {
      this.#sendWindow -= chunk.length;
      return this.#port.sendData(this.id, chunk);
    }
    this.#sendQueue.push(chunk);
    if (this.#sendQueue.bytes > LOW_WATER_BYTES) this.#wasAboveLow = true;
    if (this.#sendQueue.bytes === chunk.length) this.#sendSome();
    return true;
  }

  end(): void {
    if (this.#isEndRequested || this.#isRetired) return;
    this.#isEndRequested = true;
    if (this.#sendQueue.bytes === 0 && this.#isOpened) this.#sendFin();
  }

  destroy(err?: Error): void {
    if (this.#isRetired) {
      this.#dropReceived(err);
      return;
    }
    if (this.#isOpened) this.#port.sendControl(FRAME_TYPE.windowUpdate, FLAG.rst, this.id, 0);
    this.#abort(err);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#scheduleDelivery();
  }

  // What the session tells.

  /** The SYN has left (own streams that had to wait for their turn). */
  opened(): void {
    this.#isOpened = true;
    this.pump();
  }

  /** Sends what the windows allow, and waits for its next turn when there is more. */
  pump(): void {
    if (this.#isRetired || !this.#isOpened) return;
    this.#sendSome();
    if (this.#wasAboveLow && this.#sendQueue.bytes <= LOW_WATER_BYTES) {
      this.#wasAboveLow = false;
      this.#handler?.onDrain();
    }
  }

  /** A data frame begins. Throws YamuxError when it does not fit the window that the peer was given. */
  expectData(bytes: number): void {
    if (bytes > this.#receiveWindow) {
      throw new YamuxError(
        'protocol',
        `peer sent ${bytes} bytes on stream ${this.id}, its window is ${this.#receiveWindow}`,
      );
    }
    this.#receiveWindow -= bytes;
    this.#hasActivity = true;
  }

  /** A piece of a data frame; answers as ByteStream.write does. */
  receiveData(piece: Buffer): boolean {
    if (this.#isRetired || this.#isFinReceived) return true;
    if (this.#isPaused || this.#received.bytes > 0 || this.#handler === undefined) {
      this.#received.push(piece);
      return true;
    }
    const isPassedOn = this.#handler.onData(piece) === true;
    this.#returnCredit();
    return isPassedOn;
  }

  /** The peer gave credit. */
  receiveCredit(bytes: number): void {
    this.#sendWindow += bytes;
    if (this.#sendQueue.bytes > 0) this.pump();
  }

  /** The peer closed its half. Throws YamuxError on a second FIN. */
  receiveFin(): void {
    if (this.#isFinReceived) throw new YamuxError('protocol', `peer closed stream ${this.id} twice`);
    this.#isFinReceived = true;
    if (this.#isFinSent) this.#retire();
    if (!this.#isPaused && this.#received.bytes === 0) this.#deliverEnd();
  }

  /** The peer reset the stream, or the session ended. */
  fail(err: Error): void {
    if (!this.#isRetired) this.#abort(err);
  }

  #sendSome(): void {
    while (this.#sendQueue.bytes > 0 && this.#sendWindow > 0 && this.#isOpened) {
      if (!this.#port.canSend()) {
        this.#port.waitToSend(this);
        return;
      }
      this.#sendQueue.take(Math.min(this.#sendWindow, MAX_FRAME_BYTES), (body) => {
        this.#sendWindow -= body.length;
        return this.#port.sendData(this.id, body);
      });
    }
    if (this.#sendQueue.bytes === 0 && this.#isEndRequested && !this.#isFinSent && this.#isOpened)
      this.#sendFin();
  }

  #sendFin(): void {
    this.#isFinSent = true;
    this.#port.sendControl(FRAME_TYPE.windowUpdate, FLAG.fin, this.id, 0);
    if (!this.#isFinReceived) return;
    this.#retire();
    if (this.#isEndDelivered) process.nextTick(() => this.#close());
  }

  #scheduleDelivery(): void {
    if (this.#isDeliveryScheduled || (this.#received.bytes === 0 && !this.#isFinReceived)) return;
    this.#isDeliveryScheduled = true;
    process.nextTick(() => {
      this.#isDeliveryScheduled = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    while (!this.#isPaused && this.#received.bytes > 0 && !this.#isClosed) {
      this.#received.take(Infinity, (chunk) => this.#handler?.onData(chunk));
      this.#returnCredit();
    }
    if (this.#received.bytes === 0 && this.#isFinReceived && !this.#isPaused) this.#deliverEnd();
  }

  #deliverEnd(): void {
    if (this.#isEndDelivered || this.#isClosed || this.#handler === undefined) return;
    this.#isEndDelivered = true;
    this.#handler.onEnd();
    if (this.#isFinSent) this.#close();
  }

  /**
   * Gives credit back once a part of the window is consumed; a stream that keeps the path busy gets a larger window. Of a
   * large one a quarter is enough: the sender, which has the rest while the news travels, then seldom has to wait.
   */
  #returnCredit(): void {
    if (this.#isRetired || this.#isFinReceived) return;
    let delta = this.#windowLimit - this.#received.bytes - this.#receiveWindow;
    const isLarge = this.#windowLimit >= LARGE_WINDOW_BYTES;
    if (delta < this.#windowLimit / (isLarge ? 4 : 2)) return;
    const now = this.#port.clock.now();
    if (
      this.#windowLimit < this.#port.maxWindowBytes &&
      now - this.#lastUpdateAt < ((8 * delta) / this.#windowLimit) * this.#port.roundTripMs()
    ) {
      const growth = this.#port.takeGrowth(
        Math.min(this.#windowLimit, this.#port.maxWindowBytes - this.#windowLimit),
      );
      this.#windowLimit += growth;
      delta += growth;
    }
    this.#lastUpdateAt = now;
    this.#receiveWindow += delta;
    this.#port.sendControl(FRAME_TYPE.windowUpdate, 0, this.id, delta);
  }

  #abort(err: Error | undefined): void {
    this.#error ??= err;
    this.#sendQueue.clear();
    this.#retire();
    this.#dropReceived(err);
  }

  #dropReceived(err: Error | undefined): void {
    this.#error ??= err;
    this.#received.clear();
    process.nextTick(() => this.#close());
  }

  /** Nothing goes over the wire for this stream any more. */
  #retire(): void {
    if (this.#isRetired) return;
    this.#isRetired = true;
    this.#port.retire(this, this.#windowLimit - INITIAL_WINDOW_BYTES);
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#handler?.onClose(this.#error);
  }
}
