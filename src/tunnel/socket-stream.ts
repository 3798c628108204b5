/** A ByteStream on a net or TLS socket, or a duplex like them: writes of one tick leave in one writev, half-close is kept. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { ByteStream, ByteStreamHandler } from './byte-stream.ts';
import { currentLoan } from './read-buffers.ts';
import { moveSocket } from './socket-reads.ts';

/**
 * Wraps a socket, which must have been made with `allowHalfOpen: true` and belongs to the stream from here on: its
 * handle may move to another socket, which leaves the given one without a connection. Data that was unshifted onto the
 * socket is delivered first.
 */
export function socketStream(socket: Duplex): ByteStream {
  return new SocketStream(socket);
}

/** Smaller chunks are gathered: they do not keep a whole read buffer, and each would cost the socket more than it has. */
const GATHER_BELOW_BYTES = 4096;
/** Chunks, and bytes, that are gathered at most. */
const MAX_GATHERED = 64;
const MAX_GATHERED_BYTES = 16 * 1024;

class SocketStream implements ByteStream {
  readonly #socket: Duplex;
  #handler: ByteStreamHandler | undefined;
  /** Read before the stream had the socket. */
  #early: Buffer | undefined;
  #isPaused = true;
  #isCorked = false;
  /** Small chunks that go to the socket as one. */
  #gathered: Uint8Array[] = [];
  #gatheredBytes = 0;
  /** Gathered chunks that went before have not been taken by the system yet. */
  #isBehind = false;
  #isClosed = false;
  #error: Error | undefined;

  constructor(given: Duplex) {
    given.pause();
    const moved = moveSocket(given, (chunk) => this.#handler?.onData(chunk) === true);
    const socket = moved?.socket ?? given;
    this.#socket = socket;
    this.#early = moved?.early;
    socket.pause();
    if (moved === undefined) socket.on('data', (chunk: Buffer) => this.#handler?.onData(chunk));
    socket.on('end', () => this.#handler?.onEnd());
    socket.on('drain', () => this.#handler?.onDrain());
    socket.on('error', (err) => {
      this.#error ??= err;
    });
    socket.on('close', () => {
      this.#isClosed = true;
      this.#handler?.onClose(this.#error);
    });
    if (socket.destroyed && socket.closed) {
      // The close event is gone; the owner still has to hear of it, after it has set its handler.
      this.#isClosed = true;
      process.nextTick(() => this.#handler?.onClose(this.#error));
    }
  }

  get queuedBytes(): number {
    return this.#socket.writableLength + this.#gatheredBytes;
  }

  setHandler(handler: ByteStreamHandler): void {
    this.#handler = handler;
  }

  write(chunk: Uint8Array): boolean {
    const socket = this.#socket;
    if (!socket.writable) return true;
    if (!this.#isCorked) {
      this.#isCorked = true;
      socket.cork();
      // After the promises that are due: what a chain of awaits writes then leaves together.
      queueMicrotask(this.#uncorkLast);
    }
    const loan = currentLoan();
    if (chunk.length < GATHER_BELOW_BYTES) this.#gather(loan === undefined ? chunk : Buffer.from(chunk));
    else {
      this.#passOn();
      loan?.hold();
      if (loan === undefined) socket.write(chunk);
      else socket.write(chunk, loan.written);
    }
    return true;
  }

  #gather(chunk: Uint8Array): void {
    this.#gathered.push(chunk);
    this.#gatheredBytes += chunk.length;
    if (this.#gathered.length >= MAX_GATHERED || this.#gatheredBytes >= MAX_GATHERED_BYTES) this.#passOn();
  }

  /** Gives the socket what was gathered. */
  #passOn(): void {
    const chunks = this.#gathered;
    if (chunks.length === 0) return;
    this.#gathered = [];
    this.#gatheredBytes = 0;
    const whole = chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks);
    if (this.#socket.writableLength === 0 || this.#isBehind) this.#socket.write(whole);
    else {
      this.#isBehind = true;
      this.#socket.write(whole, this.#caughtUp);
    }
  }

  /** While the socket is busy small chunks are gathered on: they could not leave earlier by themselves. */
  readonly #caughtUp = (): void => {
    this.#isBehind = false;
    if (!this.#isCorked && this.#socket.writable) this.#passOn();
  };

  readonly #uncorkLast = (): void => process.nextTick(this.#uncork);

  readonly #uncork = (): void => {
    if (!this.#isBehind) this.#passOn();
    this.#isCorked = false;
    this.#socket.uncork();
  };

  end(): void {
    if (!this.#socket.writable) return;
    this.#passOn();
    this.#socket.end();
  }

  destroy(err?: Error): void {
    const socket = this.#socket;
    if (this.#isClosed || socket.destroyed) return;
    this.#error ??= err;
    // An abort must reach the peer as a reset, or it would take a cut-off answer for a whole one.
    // The platform cannot reset what has been shut down: it would fail, and leave the socket open for ever.
    if (err !== undefined && isPlainTcp(socket) && !socket.writableEnded) socket.resetAndDestroy();
    // By itself a reset waits until a peer that reads nothing has taken what is queued.
    socket.destroy();
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    this.#isPaused = false;
    if (this.#early === undefined) this.#socket.resume();
    else process.nextTick(() => this.#deliverEarly());
  }

  #deliverEarly(): void {
    const early = this.#early;
    if (early === undefined || this.#isPaused || this.#isClosed || this.#handler === undefined) return;
    this.#early = undefined;
    this.#handler.onData(early);
    if (!this.#isPaused) this.#socket.resume();
  }
}

function isPlainTcp(socket: Duplex): socket is Socket {
  return socket instanceof Socket && !(socket instanceof TLSSocket) && socket.remotePort !== undefined;
}
