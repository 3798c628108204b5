/** The provider's half of udp and sudp: each user behind a work connection gets a local socket of its own. */
import type { Clock } from '../../lib/clock.ts';
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { FlowTable } from '../flow-table.ts';
import { UDP_PING_MS, UdpLink, userKey } from '../frp/udp-link.ts';
import type { Datagram } from '../frp/udp-link.ts';
import type { WireProtocol } from '../frp/wire-protocol.ts';
import { connectUdp } from '../udp-socket.ts';
import type { UdpSocket } from '../udp-socket.ts';

/** What a provider leads to, and its bounds. */
export interface UdpProviderOptions {
  clock: Clock;
  /** Where datagrams go; asked for each new user, so that it may change. */
  target(): { host: string; port: number };
  /** Addresses that are never sent to. */
  isOwn?(address: string): boolean;
  /** Connections served at once; the oldest is closed for one more. udp has one, sudp one a visitor. */
  maxLinks: number;
  /** Users with a socket at once, over all connections; the one idle longest is dropped for one more. */
  maxFlows?: number;
  /** Called with each change of the number of connections. */
  onChange?(): void;
}

/** What a provider has done. */
export interface UdpProviderCounters {
  /** Work connections now. */
  links: number;
  /** Users with a socket now. */
  flows: number;
  flowsTotal: number;
  /** Users that had to make room. */
  evicted: number;
  /** Datagrams lost here: queues that were full, answers too large for a message. */
  dropped: number;
  /** Payload bytes to the target. */
  bytesIn: number;
  /** Payload bytes from the target. */
  bytesOut: number;
}

/** A local socket that nobody has used for this long is closed, milliseconds; as frpc does. */
const FLOW_IDLE_MS = 30_000;
const MAX_FLOWS = 1024;

interface Served {
  link: UdpLink;
  id: number;
  /** Keys of its flows. */
  flows: Set<string>;
}

interface Flow {
  key: string;
  served: Served;
  socket: UdpSocket;
}

/** See the file's first line. */
export class UdpProvider {
  readonly #options: UdpProviderOptions;
  readonly #served = new Set<Served>();
  readonly #flows: FlowTable<Flow>;
  readonly #ended = { dropped: 0, bytesIn: 0, bytesOut: 0 };
  #nextId = 0;

  constructor(options: UdpProviderOptions) {
    this.#options = options;
    this.#flows = new FlowTable({
      clock: options.clock,
      maxFlows: options.maxFlows ?? MAX_FLOWS,
      idleMs: FLOW_IDLE_MS,
      onEnd: (flow) => this.#endFlow(flow),
    });
  }

  get counters(): UdpProviderCounters {
    let { dropped, bytesIn, bytesOut } = this.#ended;
    for (const { link } of this.#served) {
      dropped += lostBy(link);
      bytesIn += link.counters.bytesReceived;
      bytesOut += link.counters.bytesSent;
    }
    const { size: flows, total: flowsTotal, evicted } = this.#flows;
    return { links: this.#served.size, flows, flowsTotal, evicted, dropped, bytesIn, bytesOut };
  }

  /** Takes over a work connection. The returned function closes it. */
  serve(stream: ByteStream, wire?: WireProtocol): () => void {
    if (this.#served.size >= this.#options.maxLinks) {
      const oldest = this.#served.values().next();
      if (oldest.done !== true)
        oldest.value.link.close(new TunnelError('closed', 'replaced by a newer connection'));
    }
    const served: Served = {
      id: this.#nextId++,
      flows: new Set(),
      link: new UdpLink(
        stream,
        {
          onDatagram: (datagram) => this.#toTarget(served, datagram),
          onClose: () => this.#endLink(served),
        },
        { clock: this.#options.clock, wire, pingMs: UDP_PING_MS },
      ),
    };
    this.#served.add(served);
    this.#options.onChange?.();
    return () => served.link.close();
  }

  /** Closes all connections and sockets; later connections are served again. */
  close(): void {
    for (const { link } of this.#served) link.close();
  }

  #toTarget(served: Served, { payload, user }: Datagram): void {
    const key = `${served.id} ${userKey(user)}`;
    const known = this.#flows.use(key);
    if (known !== undefined) {
      known.socket.send(payload);
      return;
    }
    const flow: Flow = {
      key,
      served,
      socket: connectUdp(
        this.#options.target(),
        {
          onDatagram: (answer) => {
            this.#flows.use(key);
            served.link.send({ payload: answer, user });
          },
          // Nobody listens there now: the next datagram starts over, when somebody may.
          onError: () => {
            this.#flows.remove(key);
            this.#endFlow(flow);
          },
        },
        (address) => this.#options.isOwn?.(address) ?? false,
      ),
    };
    served.flows.add(key);
    this.#flows.add(key, flow);
    flow.socket.send(payload);
  }

  #endFlow({ key, served, socket }: Flow): void {
    served.flows.delete(key);
    socket.close();
    this.#ended.dropped += socket.dropped;
  }

  #endLink(served: Served): void {
    this.#served.delete(served);
    for (const key of served.flows) {
      const flow = this.#flows.remove(key);
      if (flow !== undefined) this.#endFlow(flow);
    }
    this.#ended.dropped += lostBy(served.link);
    this.#ended.bytesIn += served.link.counters.bytesReceived;
    this.#ended.bytesOut += served.link.counters.bytesSent;
    this.#options.onChange?.();
  }
}

/** Datagrams that a link could not carry. */
function lostBy({ counters, queue }: UdpLink): number {
  return counters.oversized + queue.dropped;
}
