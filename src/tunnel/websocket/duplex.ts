/**
 * A websocket as the duplex of bytes that frp carries over it: frame borders mean nothing, text and binary frames are
 * the same, and both directions are held back by the bytes that wait.
 */
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { TunnelError } from '../errors.ts';

/** Settings that both ends need, for the `ws` package. */
export const WEBSOCKET_OPTIONS = {
  /** frp refuses extensions. */
  perMessageDeflate: false,
  /** Versions before 0.70 put binary data into text frames. */
  skipUTF8Validation: true,
  /** Real peers write 64 KiB at most; this bounds what one that has not logged in makes us hold, bytes. */
  maxPayload: 256 * 1024,
  /** Answered by the duplex, which looks at what is queued first. */
  autoPong: false,
  /** Time for the peer to answer a close frame, milliseconds. */
  closeTimeout: 5000,
} as const;

/** Small writes of one turn share a frame up to this size, bytes. */
const MAX_FRAME_BYTES = 64 * 1024;
/** A peer that sends pings and does not read gets no pong beyond this many queued bytes. */
const MAX_QUEUED_FOR_PONG_BYTES = 64 * 1024;
/** Close code of a connection that ended without a close frame (RFC 6455 7.1.5). */
const NO_CLOSE_FRAME = 1006;

/** What is known of the connection under a websocket. */
export interface WebSocketTransport {
  /** What the websocket was made on. */
  connection: Duplex;
  /**
   * Whether a connection that was shut down between two messages is an end, as it is for frp: frps up to 0.65 sends no
   * close frame. One that is reset, or shut down within a message, is an error in any case.
   */
  mayEndWithoutClose: boolean;
}

/** Wraps an open websocket, which belongs to the duplex from here on. A connection that breaks is an error, not an end. */
export function webSocketDuplex(socket: WebSocket, transport: WebSocketTransport): Duplex {
  return new WebSocketDuplex(socket, transport);
}

interface QueuedWrite {
  chunk: Buffer;
}

class WebSocketDuplex extends Duplex {
  readonly #socket: WebSocket;
  readonly #connection: Duplex;
  #error: Error | undefined;
  #isShutDown = false;

  constructor(socket: WebSocket, { connection, mayEndWithoutClose }: WebSocketTransport) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    this.#connection = connection;
    // A break between two owners (classification, TLS) is no reason to crash; the close that follows tells them.
    this.on('error', () => {});
    socket.on('message', (data: Buffer) => {
      if (data.length > 0 && !this.push(data)) socket.pause();
    });
    socket.on('ping', (data: Buffer) => {
      if (socket.readyState === socket.OPEN && socket.bufferedAmount < MAX_QUEUED_FOR_PONG_BYTES)
        socket.pong(data);
    });
    socket.on('error', (err) => {
      this.#error = new TunnelError('protocol', `websocket: ${err.message}`, { cause: err });
    });
    connection.once('end', () => {
      this.#isShutDown = true;
    });
    socket.on('close', (code) => {
      const isEnd = code !== NO_CLOSE_FRAME || (mayEndWithoutClose && this.#isShutDown && isBetween(socket));
      if (this.#error !== undefined) this.destroy(this.#error);
      else if (!isEnd) this.destroy(new TunnelError('closed', 'websocket ended without a close'));
      else this.push(null);
    });
  }

  override _read(): void {
    if (this.#socket.isPaused) this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (err?: Error | null) => void): void {
    this.#send(chunk, done);
  }

  override _writev(queued: readonly QueuedWrite[], done: (err?: Error | null) => void): void {
    let group: Buffer[] = [];
    let bytes = 0;
    for (const { chunk } of queued) {
      if (bytes > 0 && bytes + chunk.length > MAX_FRAME_BYTES) {
        this.#send(Buffer.concat(group));
        group = [];
        bytes = 0;
      }
      group.push(chunk);
      bytes += chunk.length;
    }
    this.#send(Buffer.concat(group), done);
  }

  #send(bytes: Buffer, done?: (err?: Error | null) => void): void {
    if (this.#socket.readyState !== this.#socket.OPEN) {
      done?.(new TunnelError('closed', 'peer closed the websocket'));
      return;
    }
    let at = 0;
    // Larger frames than a peer of our own accepts would end the connection.
    for (; bytes.length - at > MAX_FRAME_BYTES; at += MAX_FRAME_BYTES) {
      this.#socket.send(bytes.subarray(at, at + MAX_FRAME_BYTES), { binary: true });
    }
    this.#socket.send(bytes.subarray(at), { binary: true }, done);
  }

  override _final(done: (err?: Error | null) => void): void {
    // A websocket has no half-close: the peer is told that this is the end, as frp does.
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.close(1000);
    done();
  }

  override _destroy(err: Error | null, done: (err?: Error | null) => void): void {
    if (this.#socket.readyState !== this.#socket.CLOSED) {
      // An abort must not look like the end that a connection without a close frame may be. What has been shut down
      // cannot be reset: it would stay open for ever.
      const connection = this.#connection;
      const isResettable = connection instanceof Socket && !connection.writableEnded;
      if (isResettable && !this.#isEnded) connection.resetAndDestroy();
      this.#socket.terminate();
    }
    done(err);
  }

  /** Whether both sides have said that they are done. */
  get #isEnded(): boolean {
    return this.writableEnded && this.readableEnded;
  }
}

/** Whether the bytes that were received end with a message; only the package's receiver knows. */
function isBetween(socket: WebSocket): boolean {
  const { _receiver: receiver } = socket as unknown as {
    _receiver?: { _bufferedBytes?: number; _fragmented?: number; _state?: number };
  };
  return receiver?._bufferedBytes === 0 && receiver._fragmented === 0 && receiver._state === 0;
}
