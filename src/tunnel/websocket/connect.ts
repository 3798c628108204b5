/** The client's side of frp's websocket transport: asks for the upgrade on a connection that stands. */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import { TunnelError } from '../errors.ts';
import { WEBSOCKET_OPTIONS, webSocketDuplex } from './duplex.ts';
import { WEBSOCKET_PATH } from './upgrade.ts';

/**
 * Upgrades a connected socket; `host` names the server in the request. Rejects with TunnelError (offline) when the
 * server answers otherwise, and with the socket's error when that fails. The caller bounds the time.
 */
export function connectWebSocket(socket: Socket, host: string): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const webSocket = new WebSocket(`ws://${host}${WEBSOCKET_PATH}`, {
      ...WEBSOCKET_OPTIONS,
      origin: `http://${host}`,
      createConnection: () => socket,
    });
    webSocket.once('open', () => {
      webSocket.removeListener('error', reject);
      resolve(webSocketDuplex(webSocket, { connection: socket, mayEndWithoutClose: true }));
    });
    webSocket.once('error', reject);
    webSocket.once('unexpected-response', (_request, { statusCode }) => {
      reject(new TunnelError('offline', `server answered ${statusCode} to the websocket upgrade`));
      socket.destroy();
    });
  });
}
