/**
 * A mux session over one byte stream: opens and accepts streams, shares the transport fairly among them,
 * answers and sends pings. An error of one stream stays with it; an error of the framing ends the session.
 */
import type { Clock, Timer } from '../../lib/clock.ts';
import { HIGH_WATER_BYTES } from '../byte-stream.ts';
import type { ByteStream } from '../byte-stream.ts';
import { linger } from '../linger.ts';
import { DEFAULT_YAMUX_CONFIG } from './config.ts';
import type { YamuxConfig } from './config.ts';
import { FrameDecoder } from './decoder.ts';
import { YamuxError } from './errors.ts';
import { encodeHeader, FLAG, FRAME_TYPE, GO_AWAY, HEADER_BYTES, writeHeader } from './frame.ts';
import { YamuxStream } from './stream.ts';
import type { StreamPort } from './stream.ts';

/** Who is told of a session's life. */
export interface SessionHandler {
  /** The peer opened a stream; the handler owns it, and must set its handler or destroy it. */
  onStream(stream: YamuxStream): void;
  /** The session is over; all its streams have failed before. At most once. */
  onClose(err?: Error): void;
}

/** Bodies up to this size are copied behind their header: one buffer costs less than two in a writev. */
const COPY_BODY_BELOW_BYTES = 4096;
/** Stands in for the round trip until the first ping is answered: windows may grow meanwhile. */
const ASSUMED_ROUND_TRIP_MS = 100;
/** How long a closed session keeps its transport for the last frames, milliseconds. */
const LINGER_MS = 1000;
/** A peer that has sent something within this time is not asked whether it lives, milliseconds. */
const PROBE_AFTER_MS = 250;
/** While windows grow a round trip is measured anew when the last measurement is so old, milliseconds. */
const MEASURE_AFTER_MS = 1000;
/** A timer that fires so late, milliseconds, shows that this process did not run; its peer then gets a little more time. */
const PAUSE_MS = 500;
const AFTER_PAUSE_MS = 1000;
const MAX_STREAM_ID = 0xffff_ffff;

/** A session; the client side opens odd stream ids, the server side even ones. */
export class YamuxSession {
  readonly #transport: ByteStream;
  readonly #config: YamuxConfig;
  readonly #clock: Clock;
  readonly #handler: SessionHandler;
  readonly #streams = new Map<number, YamuxStream>();
  readonly #port: StreamPort;
  readonly #decoder: FrameDecoder;
  /** As in YamuxConfig; may be raised for a peer that has shown who it is. */
  maxControlBacklogBytes: number;

  #sentBytes = 0;
  #nextId: number;
  readonly #unacknowledged = new Map<number, number>();
  readonly #waitingToOpen: YamuxStream[] = [];
  /** Streams that have data and wait for the transport, in turn. */
  #waitingToSend = new Set<YamuxStream>();
  #growthLeft: number;
  /** The stream of the data frame that is being received; undefined drops the body. */
  #bodyStream: YamuxStream | undefined;
  #bodyHasFin = false;

  #hasPeerGoneAway = false;
  #isLeaving = false;
  #isClosed = false;
  #roundTripMs = ASSUMED_ROUND_TRIP_MS;
  #hasMeasured = false;
  #measuredAt = -Infinity;
  #pingValue = 0;
  #pingSentAt: number | undefined;
  #lastReceiveAt: number;
  readonly #timers: Timer[] = [];
  #pingTimer: Timer | undefined;
  readonly #halfClosedSince = new Map<YamuxStream, number>();

  constructor(
    transport: ByteStream,
    role: 'client' | 'server',
    handler: SessionHandler,
    deps: { clock: Clock },
    config: Partial<YamuxConfig> = {},
  ) {
    this.#transport = transport;
    this.#config = { ...DEFAULT_YAMUX_CONFIG, ...config };
    this.#clock = deps.clock;
    this.#handler = handler;
    this.#nextId = role === 'client' ? 1 : 2;
    this.#growthLeft = this.#config.maxGrowthBytes;
    this.maxControlBacklogBytes = this.#config.maxControlBacklogBytes;
    this.#lastReceiveAt = this.#clock.now();
    this.#port = this.#createPort();
    this.#decoder = new FrameDecoder({
      onHeader: (type, flags, streamId, length) => this.#onHeader(type, flags, streamId, length),
      onBody: (piece) => this.#bodyStream?.receiveData(piece) ?? true,
      onBodyEnd: () => {
        if (this.#bodyHasFin) this.#bodyStream?.receiveFin();
        this.#bodyStream = undefined;
      },
    });
    transport.setHandler({
      onData: (chunk) => this.#receive(chunk),
      onEnd: () => this.close(new YamuxError('closed', 'peer closed the connection')),
      onDrain: () => this.#pumpWaiting(),
      onClose: (err) => this.close(err ?? new YamuxError('closed', 'connection closed')),
    });
    this.#timers.push(
      this.#clock.every(this.#config.keepaliveMs, () => this.#sendPing()),
      this.#clock.every(Math.min(this.#config.openTimeoutMs, this.#config.closeTimeoutMs) / 4, () =>
        this.#expireStreams(),
      ),
    );
    transport.resume();
    this.#sendPing();
  }

  /** Streams open now. */
  get streamCount(): number {
    return this.#streams.size;
  }

  /** As close(). */
  destroy(err: Error): void {
    this.close(err);
  }

  /** Bytes that wait for the transport. */
  get heldBytes(): number {
    return this.#transport.queuedBytes;
  }

  /** Bytes that the transport took; only differences mean anything. */
  get drainedBytes(): number {
    return this.#sentBytes - this.#transport.queuedBytes;
  }

  /** Whether the session is over. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Last measured round trip, milliseconds; undefined before the first answer. */
  get roundTripMs(): number | undefined {
    return this.#hasMeasured ? this.#roundTripMs : undefined;
  }

  /** For how long the peer has owed the answer to a ping without a byte of anything, milliseconds; 0 when it owes none. */
  get silentMs(): number {
    if (this.#pingSentAt === undefined) return 0;
    return this.#clock.now() - Math.max(this.#lastReceiveAt, this.#pingSentAt);
  }

  /** Asks for a sign of life, unless there was one a moment ago; whether one is owed now. */
  probe(): boolean {
    if (this.#isClosed) return false;
    if (this.#clock.now() - this.#lastReceiveAt >= PROBE_AFTER_MS) this.#sendPing();
    return this.#pingSentAt !== undefined;
  }

  /** Opens a stream, usable at once. Throws YamuxError when the session is closed, leaving or full. */
  openStream(): YamuxStream {
    if (this.#isClosed) throw new YamuxError('closed', 'session is closed');
    if (this.#hasPeerGoneAway || this.#isLeaving)
      throw new YamuxError('exhausted', 'session takes no more streams');
    if (this.#streams.size >= this.#config.maxStreams || this.#nextId > MAX_STREAM_ID) {
      throw new YamuxError(
        'exhausted',
        `session has ${this.#streams.size} streams open, the limit is ${this.#config.maxStreams}`,
      );
    }
    const hasTurn = this.#unacknowledged.size < this.#config.maxUnacknowledged;
    const stream = new YamuxStream(this.#nextId, this.#port, hasTurn);
    this.#nextId += 2;
    this.#streams.set(stream.id, stream);
    if (hasTurn) this.#sendSyn(stream);
    else this.#waitingToOpen.push(stream);
    return stream;
  }

  /** Tells the peer to open no more streams; those that are open live on. */
  leave(): void {
    if (this.#isLeaving || this.#isClosed) return;
    this.#isLeaving = true;
    this.#sendControl(FRAME_TYPE.goAway, 0, 0, GO_AWAY.normal);
  }

  /** Ends the session and fails all its streams. Idempotent. */
  close(err?: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const timer of this.#timers) timer.cancel();
    this.#pingTimer?.cancel();
    const reason = err ?? new YamuxError('closed', 'session closed');
    for (const stream of this.#streams.values()) stream.fail(reason);
    this.#streams.clear();
    this.#waitingToSend.clear();
    this.#waitingToOpen.length = 0;
    this.#halfClosedSince.clear();
    // What is queued (go-away, last frames) may still leave, for a moment.
    linger(this.#transport, this.#clock, LINGER_MS);
    process.nextTick(() => this.#handler.onClose(err));
  }

  #createPort(): StreamPort {
    return {
      clock: this.#clock,
      maxWindowBytes: this.#config.maxWindowBytes,
      roundTripMs: () => this.#freshRoundTrip(),
      canSend: () => this.#transport.queuedBytes < HIGH_WATER_BYTES,
      sendData: (streamId, body) => this.#sendData(streamId, body),
      sendControl: (type, flags, streamId, length) => {
        if ((flags & FLAG.fin) !== 0) this.#noteHalfClosed(streamId);
        this.#sendControl(type, flags, streamId, length);
      },
      waitToSend: (stream) => this.#waitingToSend.add(stream),
      takeGrowth: (bytes) => {
        const granted = Math.min(bytes, this.#growthLeft);
        this.#growthLeft -= granted;
        return granted;
      },
      retire: (stream, growthBytes) => this.#retire(stream, growthBytes),
    };
  }

  /** What is known of the round trip; a line that has become slower must not be held to windows of a fast one. */
  #freshRoundTrip(): number {
    if (this.#clock.now() - this.#measuredAt >= MEASURE_AFTER_MS) this.#sendPing();
    return this.#roundTripMs;
  }

  #sendSyn(stream: YamuxStream): void {
    this.#unacknowledged.set(stream.id, this.#clock.now());
    this.#sendControl(FRAME_TYPE.windowUpdate, FLAG.syn, stream.id, 0);
  }

  #sendData(streamId: number, body: Uint8Array): boolean | void {
    this.#sentBytes += HEADER_BYTES + body.length;
    if (body.length < COPY_BODY_BELOW_BYTES) {
      const frame = Buffer.allocUnsafe(HEADER_BYTES + body.length);
      writeHeader(frame, FRAME_TYPE.data, 0, streamId, body.length);
      frame.set(body, HEADER_BYTES);
      this.#transport.write(frame);
      return true;
    }
    this.#transport.write(encodeHeader(FRAME_TYPE.data, 0, streamId, body.length));
    return this.#transport.write(body);
  }

  #sendControl(type: number, flags: number, streamId: number, length: number): void {
    if (this.#isClosed) return;
    this.#transport.write(encodeHeader(type, flags, streamId, length));
    this.#sentBytes += HEADER_BYTES;
    if (this.#transport.queuedBytes > this.maxControlBacklogBytes) {
      process.nextTick(() => this.close(new YamuxError('protocol', 'peer does not read what it asks for')));
    }
  }

  /** Gives every waiting stream its turn; those that still have data come last next time. */
  #pumpWaiting(): void {
    const waiting = this.#waitingToSend;
    if (waiting.size === 0) return;
    this.#waitingToSend = new Set();
    for (const stream of waiting) stream.pump();
  }

  #retire(stream: YamuxStream, growthBytes: number): void {
    this.#streams.delete(stream.id);
    this.#waitingToSend.delete(stream);
    this.#halfClosedSince.delete(stream);
    this.#growthLeft += growthBytes;
    const waitingAt = this.#waitingToOpen.indexOf(stream);
    if (waitingAt >= 0) this.#waitingToOpen.splice(waitingAt, 1);
    this.#acknowledged(stream.id);
  }

  #acknowledged(streamId: number): void {
    if (!this.#unacknowledged.delete(streamId)) return;
    const next = this.#waitingToOpen.shift();
    if (next === undefined || this.#isClosed) return;
    this.#sendSyn(next);
    next.opened();
  }

  #receive(chunk: Buffer): boolean {
    this.#lastReceiveAt = this.#clock.now();
    try {
      return this.#decoder.push(chunk);
    } catch (err) {
      if (!(err instanceof YamuxError)) throw err;
      this.#sendControl(FRAME_TYPE.goAway, 0, 0, GO_AWAY.protocolError);
      this.close(err);
      return false;
    }
  }

  #onHeader(type: number, flags: number, streamId: number, length: number): void {
    if (this.#isClosed) {
      this.#bodyStream = undefined; // the rest of the chunk in which it was closed
      return;
    }
    if (type === FRAME_TYPE.ping) this.#onPing(flags, length);
    else if (type === FRAME_TYPE.goAway) this.#onGoAway(length);
    else this.#onStreamFrame(type, flags, streamId, length);
  }

  #onStreamFrame(type: number, flags: number, streamId: number, length: number): void {
    const isData = type === FRAME_TYPE.data;
    this.#bodyStream = undefined;
    this.#bodyHasFin = isData && (flags & FLAG.fin) !== 0;
    if ((flags & FLAG.syn) !== 0) this.#accept(streamId);
    const stream = this.#streams.get(streamId);
    if (stream === undefined) return; // closed or refused meanwhile: the frame and its body mean nothing now
    if ((flags & FLAG.ack) !== 0) this.#acknowledged(streamId);
    if ((flags & FLAG.rst) !== 0) {
      stream.fail(new YamuxError('reset', `peer reset stream ${streamId}`));
      return; // a body, if any, is dropped
    }
    if (isData) {
      stream.expectData(length);
      this.#bodyStream = stream;
      return;
    }
    if (length > 0) stream.receiveCredit(length);
    if ((flags & FLAG.fin) !== 0) stream.receiveFin();
  }

  #accept(streamId: number): void {
    if (this.#streams.has(streamId)) throw new YamuxError('protocol', `peer opened stream ${streamId} twice`);
    if (streamId === 0) throw new YamuxError('protocol', 'peer opened stream 0');
    if (this.#isLeaving || this.#streams.size >= this.#config.maxStreams) {
      this.#sendControl(FRAME_TYPE.windowUpdate, FLAG.rst, streamId, 0);
      return;
    }
    const stream = new YamuxStream(streamId, this.#port, true);
    this.#streams.set(streamId, stream);
    // The peer may have only so many streams unacknowledged, so the answer does not wait for the application.
    this.#sendControl(FRAME_TYPE.windowUpdate, FLAG.ack, streamId, 0);
    this.#handler.onStream(stream);
  }

  #onPing(flags: number, value: number): void {
    if ((flags & FLAG.syn) !== 0) {
      this.#sendControl(FRAME_TYPE.ping, FLAG.ack, 0, value);
      return;
    }
    if (this.#pingSentAt === undefined || value !== this.#pingValue) return;
    this.#roundTripMs = Math.max(this.#clock.now() - this.#pingSentAt, 0.05);
    this.#hasMeasured = true;
    this.#measuredAt = this.#clock.now();
    this.#pingSentAt = undefined;
    this.#pingTimer?.cancel();
  }

  #onGoAway(code: number): void {
    if (code !== GO_AWAY.normal) throw new YamuxError('closed', `peer went away with code ${code}`);
    this.#hasPeerGoneAway = true;
  }

  #sendPing(): void {
    if (this.#pingSentAt !== undefined) return;
    this.#pingValue = (this.#pingValue + 1) >>> 0;
    const sentAt = this.#clock.now();
    this.#pingSentAt = sentAt;
    this.#sendControl(FRAME_TYPE.ping, FLAG.syn, 0, this.#pingValue);
    const checkAfter = (delayMs: number): void => {
      const due = this.#clock.now() + delayMs;
      this.#pingTimer = this.#clock.after(delayMs, () => {
        // Bytes that arrive prove that the peer lives, also when its answer waits behind them.
        const silentMs = this.#clock.now() - Math.max(this.#lastReceiveAt, sentAt);
        // After a pause of this process (it was frozen, the machine slept) what came meanwhile is read after the timers.
        if (this.#clock.now() - due > PAUSE_MS) checkAfter(AFTER_PAUSE_MS);
        else if (silentMs < this.#config.pingTimeoutMs - 1) checkAfter(this.#config.pingTimeoutMs - silentMs);
        else
          this.close(new YamuxError('timeout', `peer is silent for ${Math.round(silentMs)} ms after a ping`));
      });
    };
    checkAfter(this.#config.pingTimeoutMs);
  }

  #noteHalfClosed(streamId: number): void {
    const stream = this.#streams.get(streamId);
    if (stream !== undefined) this.#halfClosedSince.set(stream, this.#clock.now());
  }

  #expireStreams(): void {
    const now = this.#clock.now();
    for (const [streamId, since] of this.#unacknowledged) {
      if (now - since < this.#config.openTimeoutMs) break; // insertion order is age order
      this.#streams
        .get(streamId)
        ?.destroy(new YamuxError('timeout', `peer did not take stream ${streamId} in time`));
    }
    for (const [stream, since] of this.#halfClosedSince) {
      if (now - since < this.#config.closeTimeoutMs) continue;
      if (stream.takeActivity()) this.#halfClosedSince.set(stream, now);
      else stream.destroy(new YamuxError('timeout', `peer left stream ${stream.id} half closed and silent`));
    }
  }
}
