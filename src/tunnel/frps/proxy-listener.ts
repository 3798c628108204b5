/** A TCP port for proxies: picked among the allowed ones, bound, and given back when it is closed. */
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { errorMessage } from '../../lib/errors.ts';
import { TunnelError } from '../errors.ts';
import type { PortAllocator } from './ports.ts';

/** A port that is bound. */
export interface ProxyListener {
  readonly port: number;
  /** Stops listening and frees the port; connections under way go on. Idempotent. */
  close(): void;
}

/** Where and for whom to listen. */
export interface ProxyListenerOptions {
  /** Whose port it is; the same owner gets the same port again later. */
  owner: string;
  /** 0 lets the server choose. */
  wantedPort: number;
  bindAddr: string;
  ports: PortAllocator;
}

/** Listens. Rejects with TunnelError (proxyRefused); sockets begin paused and belong to `onSocket`. */
export async function listenForUsers(
  options: ProxyListenerOptions,
  onSocket: (socket: Socket) => void,
): Promise<ProxyListener> {
  const { owner, ports, bindAddr } = options;
  let failure: unknown;
  for (const candidate of ports.candidates(owner, options.wantedPort)) {
    try {
      const server = await bind(candidate, bindAddr, onSocket);
      const { port } = server.address() as AddressInfo;
      ports.take(port, owner);
      return {
        port,
        close: () => {
          if (!server.listening) return;
          server.close();
          ports.release(port, owner);
        },
      };
    } catch (err) {
      failure = err;
    }
  }
  throw new TunnelError('proxyRefused', `port unavailable: ${errorMessage(failure)}`, { cause: failure });
}

function bind(port: number, bindAddr: string, onSocket: (socket: Socket) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, onSocket);
    server.once('error', reject);
    server.listen(port, bindAddr, () => {
      server.removeListener('error', reject);
      server.on('error', () => {}); // a failed accept concerns one connection
      resolve(server);
    });
  });
}
