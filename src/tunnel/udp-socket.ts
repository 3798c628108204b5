/** A UDP socket that never holds more than a bounded number of datagrams and never throws for one of them. */
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { isIPv6 } from 'node:net';
import { DatagramQueue } from './datagram-queue.ts';
import { TunnelError } from './errors.ts';

/** Who is told of what arrives. */
export interface UdpSocketHandler {
  onDatagram(payload: Buffer, address: string, port: number): void;
  /** The socket is unusable: its peer is unreachable, or it could not be made. Close it; at most once. */
  onError(err: Error): void;
}

/** Datagrams handed to the system at once; further ones wait where the oldest can still be dropped. */
const MAX_IN_FLIGHT = 64;
/** Asked of the system for a socket that many peers send to, bytes; the system may grant less. */
const RECEIVE_BUFFER_BYTES = 1024 * 1024;

interface Outgoing {
  payload: Buffer;
  port: number | undefined;
  address: string | undefined;
}

/** See the file's first line. Made by bindUdp and connectUdp. */
export class UdpSocket {
  readonly #queue = new DatagramQueue<Outgoing>();
  readonly #handler: UdpSocketHandler;
  #socket: Socket | undefined;
  #inFlight = 0;
  #isClosed = false;
  #hasFailed = false;

  constructor(handler: UdpSocketHandler) {
    this.#handler = handler;
  }

  /** The local port, once there is one. */
  get port(): number | undefined {
    return this.#isClosed ? undefined : this.#socket?.address().port;
  }

  /** Datagrams dropped because the system did not take them fast enough. */
  get dropped(): number {
    return this.#queue.dropped;
  }

  /** Takes over a socket that is bound or connected, and sends what has waited for it. */
  adopt(socket: Socket): void {
    if (this.#isClosed) {
      socket.close();
      return;
    }
    this.#socket = socket;
    socket.on('message', (payload, { address, port }) => this.#handler.onDatagram(payload, address, port));
    socket.on('error', (err) => this.fail(err));
    this.#flush();
  }

  /** Reports that the socket cannot be used. */
  fail(err: Error): void {
    if (this.#isClosed || this.#hasFailed) return;
    this.#hasFailed = true;
    this.#handler.onError(err);
  }

  /** Sends one datagram, to the connected peer when no address is given. Delivery is not certain, as ever. */
  send(payload: Buffer, port?: number, address?: string): void {
    if (this.#isClosed) return;
    if (this.#socket !== undefined && this.#inFlight < MAX_IN_FLIGHT) this.#hand({ payload, port, address });
    else this.#queue.push({ payload, port, address });
  }

  /** Gives the port back. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue.clear();
    this.#socket?.close();
  }

  #hand({ payload, port, address }: Outgoing): void {
    this.#inFlight += 1;
    const done = (): void => {
      // An error concerns one datagram; a peer that is gone shows in the error event of a connected socket.
      this.#inFlight -= 1;
      this.#flush();
    };
    if (port === undefined) this.#socket?.send(payload, done);
    else this.#socket?.send(payload, port, address, done);
  }

  #flush(): void {
    while (this.#inFlight < MAX_IN_FLIGHT && !this.#isClosed) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      this.#hand(next);
    }
  }
}

/** Binds a socket. Rejects with the system's error; no handler is called then. */
export function bindUdp(
  where: { address: string; port: number },
  handler: UdpSocketHandler,
): Promise<UdpSocket> {
  return new Promise((resolve, reject) => {
    const socket = createSocket({
      type: isIPv6(where.address) ? 'udp6' : 'udp4',
      recvBufferSize: RECEIVE_BUFFER_BYTES,
    });
    socket.once('error', (err) => {
      socket.close();
      reject(err);
    });
    socket.bind({ ...where, exclusive: true }, () => {
      socket.removeAllListeners('error');
      const bound = new UdpSocket(handler);
      bound.adopt(socket);
      resolve(bound);
    });
  });
}

/**
 * Connects a socket to a peer, by address or name; what is sent before it is connected waits. It fails when `isOwn` is
 * true of the address: datagrams would come back to whoever sends them.
 */
export function connectUdp(
  peer: { host: string; port: number },
  handler: UdpSocketHandler,
  isOwn: (address: string) => boolean = () => false,
): UdpSocket {
  const connected = new UdpSocket(handler);
  lookup(peer.host)
    .then(({ address, family }) => {
      if (isOwn(address)) throw new TunnelError('closed', `datagrams to ${address} would come back`);
      const socket = createSocket(family === 6 ? 'udp6' : 'udp4');
      socket.on('error', (err) => connected.fail(err));
      socket.connect(peer.port, address, () => {
        socket.removeAllListeners('error');
        connected.adopt(socket);
      });
    })
    .catch((err: unknown) => connected.fail(err instanceof Error ? err : new Error(String(err))));
  return connected;
}
