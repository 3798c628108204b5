/** Listening sockets that can move: a new address is bound before the old one is released. */
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { unlink } from 'node:fs/promises';
import { errorCode } from '../../lib/errors.ts';
import { listenError } from '../../lib/http.ts';
import { formatHostPort } from '../../lib/address.ts';

/** Where to listen. */
export type ListenAddress = { host: string; port: number } | { path: string };

/** Listens; rejects with EDGE_ERR_LISTEN. A unix socket file that nobody listens on is replaced. */
export async function listenOn(address: ListenAddress, onSocket: (socket: Socket) => void): Promise<Server> {
  try {
    return await bind(address, onSocket);
  } catch (err) {
    if (!('path' in address) || errorCode(err) !== 'EADDRINUSE' || (await isAlive(address.path))) {
      throw listenError('path' in address ? address.path : formatHostPort(address.host, address.port), err);
    }
    await unlink(address.path);
    return bind(address, onSocket);
  }
}

/** The bound port; undefined on a unix socket. */
export function boundPort(server: Server): number | undefined {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : undefined;
}

function bind(address: ListenAddress, onSocket: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer(
      { allowHalfOpen: true, pauseOnConnect: true, noDelay: true, keepAlive: true },
      onSocket,
    );
    server.once('error', reject);
    server.listen(
      'path' in address ? { path: address.path } : { host: address.host, port: address.port },
      () => {
        server.removeListener('error', reject);
        server.on('error', () => {}); // a failed accept (EMFILE) concerns one connection
        resolve(server);
      },
    );
  });
}

function isAlive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
}
