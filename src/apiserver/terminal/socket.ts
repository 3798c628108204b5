/** WebSockets of terminals; the one place of the API server that touches ws. Pings, limits of frames, what is queued. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import type { WebSocket } from 'ws';
import type { Clock } from '../../lib/clock.ts';
import { readMessage, TERMINAL_PROTOCOL } from './messages.ts';
import { LOW_WATER_BYTES } from './session.ts';
import type { TerminalHandler, TerminalSocket } from './session.ts';

/** A key of 16,384 RSA bits and its certificate fit; a paste is cut into frames by the page. */
const MAX_FRAME_BYTES = 64 * 1024;
/** NATs and proxies forget connections that are silent for a minute, milliseconds. */
const PING_MS = 20_000;
/** A reason in a close frame has 123 bytes (RFC 6455 5.5.1). */
const MAX_REASON_BYTES = 123;
/** Time for the caller to answer a close frame, milliseconds. */
const CLOSE_TIMEOUT_MS = 5000;

/** Takes upgrade requests that have been let in. */
export class TerminalSockets {
  readonly #server: WebSocketServer;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      maxPayload: MAX_FRAME_BYTES,
      perMessageDeflate: false, // secrets and what others choose would share a compressor
      handleProtocols: (offered) => (offered.has(TERMINAL_PROTOCOL) ? TERMINAL_PROTOCOL : false),
    });
  }

  /** Answers an upgrade; `onOpen` gets the socket at once. A request that is no WebSocket's is answered with 400. */
  accept(
    request: IncomingMessage,
    duplex: Duplex,
    head: Buffer,
    onOpen: (socket: TerminalSocket) => void,
  ): void {
    this.#server.handleUpgrade(request, duplex, head, (webSocket) => onOpen(wrap(webSocket, this.#clock)));
  }
}

function wrap(webSocket: WebSocket, clock: Clock): TerminalSocket {
  const speaksMessages = webSocket.protocol === TERMINAL_PROTOCOL;
  let handler: TerminalHandler | undefined;
  let isWaiting = false;
  let isAlive = true;
  /** Output that was sent and not yet shown, bytes. */
  let unshown = 0;
  const queuedBytes = (): number => (speaksMessages ? unshown : webSocket.bufferedAmount);
  const isOpen = (): boolean => webSocket.readyState === webSocket.OPEN;
  const pings = clock.every(PING_MS, () => {
    if (webSocket.isPaused) return; // its pongs are not read either; the node's keep-alive decides
    if (!isAlive) {
      webSocket.terminate();
      return;
    }
    isAlive = false;
    if (isOpen()) webSocket.ping();
  });
  const onTaken = (): void => {
    if (!isWaiting || queuedBytes() > LOW_WATER_BYTES) return;
    isWaiting = false;
    handler?.onDrain();
  };
  webSocket.on('pong', () => {
    isAlive = true;
  });
  webSocket.on('message', (data: Buffer, isBinary) => {
    isAlive = true;
    const message = readMessage(data, isBinary);
    if (message.kind === 'ack') {
      unshown = Math.max(0, unshown - message.bytes);
      onTaken();
    } else handler?.onMessage(message);
  });
  webSocket.on('error', () => {}); // the close that follows tells
  webSocket.on('close', () => {
    pings.cancel();
    handler?.onClose();
  });
  return {
    output(bytes) {
      if (!isOpen()) return;
      webSocket.send(bytes, { binary: true }, onTaken);
      unshown += bytes.length;
      if (queuedBytes() > LOW_WATER_BYTES) isWaiting = true;
    },
    tell(message) {
      if (isOpen() && speaksMessages) webSocket.send(JSON.stringify(message), { binary: false });
    },
    get queuedBytes() {
      return queuedBytes();
    },
    pause: () => webSocket.pause(),
    resume: () => webSocket.resume(),
    close(code, reason) {
      webSocket.resume(); // the answer to the close frame must be read
      if (isOpen()) webSocket.close(code, cut(reason));
      const timer = clock.after(CLOSE_TIMEOUT_MS, () => webSocket.terminate());
      webSocket.once('close', () => timer.cancel());
    },
    setHandler(next) {
      handler = next;
    },
  };
}

function cut(reason: string): string {
  const bytes = Buffer.from(reason);
  if (bytes.length <= MAX_REASON_BYTES) return reason;
  // half a character at the end is left out
  return bytes
    .subarray(0, MAX_REASON_BYTES)
    .toString('utf8')
    .replace(/\uFFFD+$/u, '');
}
