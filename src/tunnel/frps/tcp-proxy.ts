/** A tcp proxy: a port on the server, its own or its group's, whose connections reach the client. */
import type { Socket } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { plainAddress } from '../frp/proxy-protocol.ts';
import { socketStream } from '../socket-stream.ts';
import type { PortAllocator } from './ports.ts';
import { ServerProxy } from './proxy.ts';
import type { ProxyRequest } from './proxy.ts';
import { listenForUsers } from './proxy-listener.ts';
import type { ProxyListener } from './proxy-listener.ts';
import type { ServerSession } from './session.ts';
import type { GroupMember, TcpGroups } from './tcp-group.ts';
import type { TrafficCounter } from './traffic.ts';

/** What a tcp proxy needs of the server. */
export interface TcpProxyDeps {
  clock: Clock;
  log: Logger;
  ports: PortAllocator;
  groups: TcpGroups;
  bindAddr: string;
  userConnTimeoutMs(): number;
  totals: TrafficCounter;
  onChange(): void;
}

/** See the file's first line. */
export class TcpProxy extends ServerProxy implements GroupMember {
  readonly #deps: TcpProxyDeps;
  #listener: ProxyListener | undefined;

  constructor(request: ProxyRequest, session: ServerSession, deps: TcpProxyDeps) {
    super(request, session, deps.clock);
    this.#deps = deps;
  }

  override async open(): Promise<void> {
    const { groups, ports, bindAddr } = this.#deps;
    const { group, group_key: key, remote_port: wantedPort } = this.request;
    this.#listener =
      group === ''
        ? await listenForUsers({ owner: this.name, wantedPort, bindAddr, ports }, (socket) => {
            this.serve(socket).catch((err: unknown) => {
              socket.destroy();
              this.#deps.log.debug('user connection failed', { proxy: this.name, error: err });
            });
          })
        : await groups.join(this, { group, key, wantedPort, bindAddr });
    this.remotePort = this.#listener.port;
  }

  override close(): void {
    this.#listener?.close();
    this.#listener = undefined;
  }

  async serve(socket: Socket): Promise<void> {
    const work = await this.startWork(
      {
        sourceAddr: plainAddress(socket.remoteAddress ?? ''),
        sourcePort: socket.remotePort ?? 0,
        destinationAddr: plainAddress(socket.localAddress ?? ''),
        destinationPort: socket.localPort ?? 0,
      },
      this.#deps.userConnTimeoutMs(),
    );
    this.join(socketStream(socket), work, [this.#deps.totals]);
    this.#deps.onChange();
  }
}
