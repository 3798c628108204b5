/**
 * Reads of plain sockets into buffers that are used again (`onread` of net.Socket) instead of fresh memory a read.
 * Node offers that for sockets that dial; an accepted one is moved to a socket of our own with the same handle.
 */
import { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { Duplex } from 'node:stream';
import { readBuffers, withLoan } from './read-buffers.ts';

/** A read of this size or more says that there is much to come. */
const BULK_READ_BYTES = 32 * 1024;

/** A socket whose handle was moved to another. */
export interface MovedSocket {
  socket: Socket;
  /** What had been read already. */
  early: Buffer | undefined;
}

/** What of a socket's inside is needed; all of it optional, since no document promises it. */
interface SocketInside {
  _handle?: { useUserBuffer?: unknown } | null;
  _readableState?: { ended?: boolean };
}

/**
 * Moves the handle of a paused socket to one that gives every chunk to `onChunk`, which answers as
 * ByteStreamHandler.onData does. Undefined when the socket must stay as it is: it
 * is no plain TCP or unix socket, is closed or half closed, or has not sent all that was written to it.
 */
export function moveSocket(
  socket: Duplex,
  onChunk: (chunk: Buffer) => boolean | undefined,
): MovedSocket | undefined {
  if (!(socket instanceof Socket) || socket instanceof TLSSocket) return undefined;
  const inside = socket as unknown as SocketInside;
  const handle = inside._handle;
  if (typeof handle?.useUserBuffer !== 'function' || inside._readableState?.ended !== false) return undefined;
  if (socket.connecting || socket.destroyed || !socket.writable || socket.writableLength > 0)
    return undefined;
  const early = socket.read() as Buffer | null;
  inside._handle = null;
  const moved = openOnHandle(handle, onChunk);
  // The old one stands for the connection in its server's count.
  moved.once('close', () => socket.destroy());
  return { socket: moved, early: early ?? undefined };
}

function openOnHandle(handle: object, onChunk: (chunk: Buffer) => boolean | undefined): Socket {
  const reads = new SocketReads(onChunk);
  const options = {
    handle,
    allowHalfOpen: true,
    pauseOnCreate: true,
    onread: { buffer: () => reads.nextBuffer(), callback: (bytes: number) => reads.onRead(bytes) },
  };
  // `handle` and `pauseOnCreate` stand in no manual; Node's own servers pass them
  const socket = new Socket(options);
  socket.once('close', () => reads.close());
  return socket;
}

class SocketReads {
  readonly #onChunk: (chunk: Buffer) => boolean | undefined;
  /** The pooled buffer of the next read; undefined: the shared one. */
  #pooled: Buffer | undefined;
  #isBulk = false;

  constructor(onChunk: (chunk: Buffer) => boolean | undefined) {
    this.#onChunk = onChunk;
  }

  /** Where the next read goes; asked before the first one and after each. */
  nextBuffer(): Buffer {
    if (this.#isBulk) this.#pooled ??= readBuffers.take();
    return this.#pooled ?? readBuffers.shared;
  }

  onRead(bytes: number): true {
    const pooled = this.#pooled;
    this.#pooled = undefined;
    this.#isBulk = bytes >= BULK_READ_BYTES;
    if (pooled === undefined) this.#onChunk(Buffer.from(readBuffers.shared.subarray(0, bytes)));
    else this.#lend(pooled, bytes);
    return true; // pausing is up to the socket's owner
  }

  close(): void {
    this.#isBulk = false;
    if (this.#pooled !== undefined) readBuffers.putBack(this.#pooled);
    this.#pooled = undefined;
  }

  #lend(buffer: Buffer, bytes: number): void {
    const loan = readBuffers.lend(buffer);
    const isAnsweredFor = withLoan(loan, () => this.#onChunk(buffer.subarray(0, bytes)));
    if (isAnsweredFor !== true) loan.lose();
    loan.release();
  }
}
