/** A udp proxy: a port on the server whose datagrams all travel over one work connection, replaced when it breaks. */
import { sleep } from '../../lib/clock.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { DatagramQueue } from '../datagram-queue.ts';
import { TunnelError } from '../errors.ts';
import { FlowTable } from '../flow-table.ts';
import type { MessageChannel } from '../frp/message-channel.ts';
import { UDP_DEAD_AFTER_MS, UdpLink, userAddress, userKey } from '../frp/udp-link.ts';
import type { Datagram } from '../frp/udp-link.ts';
import { bindUdp } from '../udp-socket.ts';
import type { UdpSocket } from '../udp-socket.ts';
import type { PortAllocator } from './ports.ts';
import { ServerProxy } from './proxy.ts';
import type { ProxyRequest } from './proxy.ts';
import type { ServerSession } from './session.ts';
import type { TrafficCounter } from './traffic.ts';
import type { ProxyInfo } from './types.ts';

/** What a udp proxy needs of the server. */
export interface UdpProxyDeps {
  clock: Clock;
  log: Logger;
  /** Ports of udp proxies; tcp proxies have their own. */
  ports: PortAllocator;
  bindAddr: string;
  /** Larger datagrams of users are dropped, bytes; as configured now. */
  packetBytes(): number;
  userConnTimeoutMs(): number;
  totals: TrafficCounter;
  onChange(): void;
}

/** The client hears that its proxy runs before it gets a connection for it: frpc refuses earlier ones; milliseconds. */
const FIRST_LINK_DELAY_MS = 500;
/** Between tries to get a work connection, and after one that broke at once, milliseconds. */
const RETRY_MS = 1000;
/** Answers reach a user this long after the last datagram either way; frpc gives up its half after 30 s. */
const USER_IDLE_MS = 120_000;
const MAX_USERS = 16_384;
/** StartWorkConn of a udp proxy names no user. */
const NO_ADDRESSES = { sourceAddr: '', sourcePort: 0, destinationAddr: '', destinationPort: 0 };

/** Where a user is, in the words of the socket. */
interface User {
  address: string;
  port: number;
}

/** See the file's first line. Users are remembered: a client cannot make the server send to anybody else. */
export class UdpProxy extends ServerProxy {
  readonly #deps: UdpProxyDeps;
  readonly #closed = new AbortController();
  /** Outlives the links: what arrives between two of them is carried by the next. */
  readonly #waiting = new DatagramQueue<Datagram>();
  readonly #users: FlowTable<User>;
  #socket: UdpSocket | undefined;
  #link: UdpLink | undefined;
  #dropped = 0;

  constructor(request: ProxyRequest, session: ServerSession, deps: UdpProxyDeps) {
    super(request, session, deps.clock);
    this.#deps = deps;
    this.#users = new FlowTable({
      clock: deps.clock,
      maxFlows: MAX_USERS,
      idleMs: USER_IDLE_MS,
      onEnd: () => {},
    });
  }

  /** Datagrams lost here: too large, pushed out of a full queue, or answers to nobody. */
  get dropped(): number {
    return this.#dropped + this.#waiting.dropped + (this.#socket?.dropped ?? 0);
  }

  override async open(): Promise<void> {
    this.#socket = await this.#bind();
    this.#keepLink().catch((err: unknown) =>
      this.#deps.log.error('udp proxy stopped working', { proxy: this.name, error: err }),
    );
  }

  override close(): void {
    if (this.#closed.signal.aborted) return;
    this.#closed.abort();
    this.#socket?.close();
    this.#link?.close();
    this.#users.clear();
    this.#waiting.clear();
    if (this.remotePort !== undefined) this.#deps.ports.release(this.remotePort, this.name);
  }

  /** Connections are users that were heard of lately. */
  override info(): ProxyInfo {
    return { ...super.info(), connections: this.#users.size, totalConnections: this.#users.total };
  }

  async #bind(): Promise<UdpSocket> {
    let failure: unknown;
    for (const port of this.#deps.ports.candidates(this.name, this.request.remote_port)) {
      try {
        const socket = await bindUdp(
          { address: this.#deps.bindAddr, port },
          {
            onDatagram: (payload, address, from) => this.#fromUser(payload, address, from),
            onError: (err) =>
              this.#deps.log.warn('socket of a udp proxy failed', { proxy: this.name, error: err }),
          },
        );
        this.remotePort = socket.port ?? port;
        this.#deps.ports.take(this.remotePort, this.name);
        return socket;
      } catch (err) {
        failure = err;
      }
    }
    throw new TunnelError('proxyRefused', `port unavailable: ${errorMessage(failure)}`, { cause: failure });
  }

  async #keepLink(): Promise<void> {
    const { clock, log } = this.#deps;
    const { signal } = this.#closed;
    await sleep(clock, FIRST_LINK_DELAY_MS, signal);
    while (!signal.aborted) {
      const startedAt = clock.now();
      try {
        const work = await this.startWork(NO_ADDRESSES, this.#deps.userConnTimeoutMs());
        await this.#serveLink(work);
      } catch (err) {
        log.debug('no work connection for a udp proxy', { proxy: this.name, error: err });
      }
      const livedMs = clock.now() - startedAt;
      await sleep(clock, Math.max(0, RETRY_MS - livedMs), signal);
    }
  }

  /** Carries datagrams until the connection breaks. */
  #serveLink(work: MessageChannel): Promise<void> {
    if (this.#closed.signal.aborted) {
      work.close();
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#link = new UdpLink(
        this.wrapWork(work),
        {
          onDatagram: (datagram) => this.#toUser(datagram),
          onClose: (err) => {
            this.#deps.log.debug('work connection of a udp proxy ended', { proxy: this.name, error: err });
            this.#dropped += this.#link?.counters.oversized ?? 0;
            this.#link = undefined;
            resolve();
          },
        },
        {
          clock: this.#deps.clock,
          wire: this.datagramWire,
          queue: this.#waiting,
          deadAfterMs: UDP_DEAD_AFTER_MS,
        },
      );
    });
  }

  #fromUser(payload: Buffer, address: string, port: number): void {
    if (payload.length > this.#deps.packetBytes()) {
      this.#dropped += 1;
      return;
    }
    const user = userAddress(address, port);
    const key = userKey(user);
    if (this.#users.use(key) === undefined) {
      this.#users.add(key, { address, port });
      this.#deps.onChange();
    }
    this.#count(payload.length, 0);
    if (this.#link === undefined) this.#waiting.push({ payload, user });
    else this.#link.send({ payload, user });
  }

  #toUser({ payload, user }: Datagram): void {
    const known = this.#users.use(userKey(user));
    if (known === undefined) {
      this.#dropped += 1;
      return;
    }
    this.#count(0, payload.length);
    this.#socket?.send(payload, known.port, known.address);
  }

  #count(bytesIn: number, bytesOut: number): void {
    this.traffic.carried(bytesIn, bytesOut);
    this.#deps.totals.carried(bytesIn, bytesOut);
  }
}
