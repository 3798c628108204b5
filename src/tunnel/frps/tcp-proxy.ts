/** A tcp proxy: a port on the server whose connections reach the client. */
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { TunnelError } from '../errors.ts';
import { socketStream } from '../socket-stream.ts';
import type { PortAllocator } from './ports.ts';
import { ServerProxy } from './proxy.ts';
import type { ProxyRequest } from './proxy.ts';
import type { ServerSession } from './session.ts';
import type { TrafficCounter } from './traffic.ts';

/** What a tcp proxy needs of the server. */
export interface TcpProxyDeps {
  clock: Clock;
  log: Logger;
  ports: PortAllocator;
  bindAddr: string;
  userConnTimeoutMs(): number;
  totals: TrafficCounter;
  onChange(): void;
}

/** See the file's first line. */
export class TcpProxy extends ServerProxy {
  readonly #deps: TcpProxyDeps;
  #server: Server | undefined;

  constructor(request: ProxyRequest, session: ServerSession, deps: TcpProxyDeps) {
    super(request, session, deps.clock);
    this.#deps = deps;
  }

  override async open(): Promise<void> {
    let failure: unknown;
    for (const port of this.#deps.ports.candidates(this.name, this.request.remote_port)) {
      try {
        this.#server = await this.#listen(port);
        this.remotePort = (this.#server.address() as AddressInfo).port;
        this.#deps.ports.take(this.remotePort, this.name);
        return;
      } catch (err) {
        failure = err;
      }
    }
    throw new TunnelError('proxyRefused', `port unavailable: ${errorMessage(failure)}`, { cause: failure });
  }

  override close(): void {
    if (this.#server === undefined) return;
    this.#server.close();
    this.#server = undefined;
    if (this.remotePort !== undefined) this.#deps.ports.release(this.remotePort, this.name);
  }

  #listen(port: number): Promise<Server> {
    return new Promise((resolve, reject) => {
      const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) => {
        this.#serve(socket).catch((err: unknown) => {
          socket.destroy();
          this.#deps.log.debug('user connection failed', { proxy: this.name, error: err });
        });
      });
      server.once('error', reject);
      server.listen(port, this.#deps.bindAddr, () => {
        server.removeListener('error', reject);
        server.on('error', () => {}); // a failed accept concerns one connection
        resolve(server);
      });
    });
  }

  async #serve(socket: Socket): Promise<void> {
    const user = socketStream(socket);
    const work = await this.startWork(
      {
        sourceAddr: socket.remoteAddress ?? '',
        sourcePort: socket.remotePort ?? 0,
        destinationAddr: socket.localAddress ?? '',
        destinationPort: socket.localPort ?? 0,
      },
      this.#deps.userConnTimeoutMs(),
    );
    this.join(user, work, [this.#deps.totals]);
    this.#deps.onChange();
  }
}
