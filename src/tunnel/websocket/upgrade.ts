/** The HTTP that a tunnel server speaks: upgrades of frp's path become byte duplexes, everything else a short refusal. */
import { createServer } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer } from 'ws';
import { TunnelError } from '../errors.ts';
import { WEBSOCKET_OPTIONS, webSocketDuplex } from './duplex.ts';

/** The request target of frp's websocket transport. */
export const WEBSOCKET_PATH = '/~!frp';
/** Largest request head, bytes. */
const MAX_HEAD_BYTES = 8192;

/** Serves HTTP on connections that were accepted elsewhere; listens on nothing itself. */
export class WebSocketUpgrades {
  readonly #http: Server;
  readonly #webSockets = new WebSocketServer({ ...WEBSOCKET_OPTIONS, noServer: true, clientTracking: false });
  readonly #waiting = new WeakMap<Duplex, (duplex: Duplex) => void>();

  constructor() {
    this.#http = createServer({ maxHeaderSize: MAX_HEAD_BYTES }, (request, response) => {
      response.writeHead(404, { connection: 'close', 'content-type': 'text/plain' });
      response.end(request.method === 'HEAD' ? undefined : '404 page not found\n');
    });
    this.#http.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head));
    this.#http.on('clientError', (_err, socket) => refuse(socket, '400 Bad Request'));
  }

  /**
   * Serves one connection, whose first bytes were unshifted. Resolves with the duplex inside the websocket; rejects
   * with TunnelError (protocol) once the peer was answered otherwise and is gone. The caller bounds the time.
   */
  accept(socket: Duplex): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const onClose = (): void =>
        reject(new TunnelError('protocol', 'HTTP request that is no upgrade to frp'));
      socket.once('close', onClose);
      this.#waiting.set(socket, (duplex) => {
        socket.removeListener('close', onClose);
        resolve(duplex);
      });
      this.#http.emit('connection', socket);
      socket.resume();
    });
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => {}); // the close that follows is what counts
    if (request.url !== WEBSOCKET_PATH) {
      refuse(socket, '404 Not Found');
      return;
    }
    // frps wants a parsable origin as well; its value says nothing about who the client is.
    if (!URL.canParse(request.headers.origin ?? '')) {
      refuse(socket, '403 Forbidden');
      return;
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      const duplex = webSocketDuplex(webSocket, { connection: socket, mayEndWithoutClose: false });
      this.#waiting.get(socket)?.(duplex);
    });
  }
}

function refuse(socket: Duplex, status: string): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  socket.once('finish', () => socket.destroy());
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}
