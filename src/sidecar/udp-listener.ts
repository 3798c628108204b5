/** One UDP port of a mapped service: comes up when its address is free, and keeps each user on one connection to a provider. */
import { formatHostPort } from '../lib/address.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import { listenError } from '../lib/http.ts';
import type { Logger } from '../lib/log.ts';
import type { ByteStream } from '../tunnel/byte-stream.ts';
import { FlowTable } from '../tunnel/flow-table.ts';
import { userAddress, userKey } from '../tunnel/frp/udp-link.ts';
import type { Datagram } from '../tunnel/frp/udp-link.ts';
import { UdpVisitor } from '../tunnel/frpc/udp-visitor.ts';
import { bindUdp } from '../tunnel/udp-socket.ts';
import type { UdpSocket } from '../tunnel/udp-socket.ts';
import type { Listener, ListenerState } from './listener.ts';

/** An application that sends datagrams. */
export interface UdpUser {
  address: string;
  port: number;
}

/** Where and for whom to listen. */
export interface UdpListenerConfig {
  host: string;
  port: number;
  /** Opens a connection to some provider for a user, and for those who will share it. */
  open(user: UdpUser, signal: AbortSignal): Promise<{ stream: ByteStream; router: string }>;
  /** A connection through a Router is open, or is closed again. */
  onCarrier(router: string, isOpen: boolean): void;
  /** No connection could be opened. */
  onFailure(err: unknown): void;
  onChange(): void;
}

/** What a listener has done. */
export interface UdpListenerCounters {
  /** Applications' sockets that were heard of lately. */
  flows: number;
  flowsTotal: number;
  /** Flows that had to make room for newer ones. */
  evicted: number;
  /** Datagrams lost here: nobody to carry them, full queues, too large, answers for nobody. */
  dropped: number;
  /** Payload bytes from applications. */
  bytesIn: number;
  /** Payload bytes to applications. */
  bytesOut: number;
}

/** A UDP listener. */
export interface UdpListener extends Listener {
  readonly counters: UdpListenerCounters;
  /** Carries on with the flows there are, and takes no others. */
  stopAccepting(): void;
}

/** Time between tries; a port that another program gives up is taken this soon, milliseconds. */
const RETRY_MS = 3000;
/** A flow without a datagram for this long is over, milliseconds; providers give up after 30 s. */
const FLOW_IDLE_MS = 60_000;
const MAX_FLOWS = 4096;
/**
 * Connections that the flows of a port share. A connection of its own for each flow would cost every DNS query a
 * round trip and a stream; this many spread a port's load over its providers evenly enough.
 */
const MAX_CARRIERS = 16;

interface Carrier {
  visitor: UdpVisitor;
  flows: number;
}

interface Flow extends UdpUser {
  carrier: Carrier;
}

/** Starts listening. */
export function startUdpListener(
  config: UdpListenerConfig,
  deps: { clock: Clock; log: Logger },
): UdpListener {
  return new MappedUdpPort(config, deps);
}

class MappedUdpPort implements UdpListener {
  readonly #config: UdpListenerConfig;
  readonly #deps: { clock: Clock; log: Logger };
  readonly #where: string;
  readonly #carriers: Carrier[] = [];
  readonly #flows: FlowTable<Flow>;
  #state: ListenerState = 'starting';
  #error: string | undefined;
  #socket: UdpSocket | undefined;
  #retry: Timer | undefined;
  #isAccepting = true;
  #dropped = 0;

  constructor(config: UdpListenerConfig, deps: { clock: Clock; log: Logger }) {
    this.#config = config;
    this.#deps = deps;
    this.#where = formatHostPort(config.host, config.port);
    this.#flows = new FlowTable({
      clock: deps.clock,
      maxFlows: MAX_FLOWS,
      idleMs: FLOW_IDLE_MS,
      onEnd: (flow) => {
        flow.carrier.flows -= 1;
      },
    });
    this.#bind();
  }

  get state(): ListenerState {
    return this.#state;
  }

  get error(): string | undefined {
    return this.#error;
  }

  get counters(): UdpListenerCounters {
    let dropped = this.#dropped + (this.#socket?.dropped ?? 0);
    let bytesIn = 0;
    let bytesOut = 0;
    for (const { visitor } of this.#carriers) {
      const { counters } = visitor;
      dropped += counters.dropped;
      bytesIn += counters.bytesIn;
      bytesOut += counters.bytesOut;
    }
    const { size: flows, total: flowsTotal, evicted } = this.#flows;
    return { flows, flowsTotal, evicted, dropped, bytesIn, bytesOut };
  }

  stopAccepting(): void {
    this.#isAccepting = false;
  }

  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#retry?.cancel();
    this.#socket?.close();
    this.#flows.clear();
    for (const { visitor } of this.#carriers) visitor.close();
  }

  #bind(): void {
    const { host: address, port } = this.#config;
    const handler = {
      onDatagram: (payload: Buffer, from: string, fromPort: number) =>
        this.#fromUser(payload, { address: from, port: fromPort }),
      onError: (err: Error) => this.#fail(err),
    };
    bindUdp({ address, port }, handler).then(
      (socket) => {
        if (this.#state === 'closed') {
          socket.close();
          return;
        }
        if (this.#error !== undefined)
          this.#deps.log.info('listening for a mapped service again', { address: `${this.#where}/udp` });
        this.#socket = socket;
        this.#state = 'listening';
        this.#error = undefined;
        this.#config.onChange();
      },
      (err: unknown) => this.#fail(err instanceof Error ? err : new Error(String(err))),
    );
  }

  #fail(err: Error): void {
    if (this.#state === 'closed') return;
    const message = errorMessage(listenError(this.#where, err));
    if (message !== this.#error) {
      const fields = { address: `${this.#where}/udp`, error: message };
      this.#deps.log.warn('cannot listen for a mapped service, trying again', fields);
    }
    this.#socket?.close();
    this.#socket = undefined;
    this.#state = 'failed';
    this.#error = message;
    this.#retry = this.#deps.clock.after(RETRY_MS, () => this.#bind());
    this.#config.onChange();
  }

  #fromUser(payload: Buffer, from: UdpUser): void {
    const user = userAddress(from.address, from.port);
    const key = userKey(user);
    let flow = this.#flows.use(key);
    if (flow === undefined) {
      if (!this.#isAccepting) {
        this.#dropped += 1;
        return;
      }
      flow = { ...from, carrier: this.#carrierFor(from) };
      flow.carrier.flows += 1;
      this.#flows.add(key, flow);
    }
    flow.carrier.visitor.send({ payload, user });
  }

  #toUser({ payload, user }: Datagram): void {
    const flow = this.#flows.use(userKey(user));
    if (flow === undefined) this.#dropped += 1;
    else this.#socket?.send(payload, flow.port, flow.address);
  }

  /** One that nobody uses, a new one while there may be more, or the one with the fewest flows. */
  #carrierFor(user: UdpUser): Carrier {
    const [first, ...others] = this.#carriers;
    let best = first;
    for (const carrier of others) if (carrier.flows < (best?.flows ?? Infinity)) best = carrier;
    if (best !== undefined && (best.flows === 0 || this.#carriers.length >= MAX_CARRIERS)) return best;
    const carrier = this.#createCarrier(user);
    this.#carriers.push(carrier);
    return carrier;
  }

  #createCarrier(user: UdpUser): Carrier {
    let router: string | undefined;
    const visitor = new UdpVisitor({
      clock: this.#deps.clock,
      open: async (signal) => {
        const opened = await this.#config.open(user, signal);
        router = opened.router;
        return { stream: opened.stream };
      },
      onDatagram: (datagram) => this.#toUser(datagram),
      onFailure: (err) => this.#config.onFailure(err),
      onChange: () => {
        if (router === undefined) return;
        const isOpen = visitor.phase === 'open';
        this.#config.onCarrier(router, isOpen);
        if (!isOpen) router = undefined;
      },
    });
    return { visitor, flows: 0 };
  }
}
