/**
 * Datagrams over one connection, as frp carries udp and sudp: UDPPacket messages, Ping from the provider to keep
 * the connection alive. What the connection cannot take waits in a bounded queue; nothing here touches a socket.
 */
import { isIP } from 'node:net';
import type { Clock, Timer } from '../../lib/clock.ts';
import { errorCode } from '../../lib/errors.ts';
import { LOW_WATER_BYTES } from '../byte-stream.ts';
import type { ByteStream } from '../byte-stream.ts';
import { DatagramQueue } from '../datagram-queue.ts';
import { TUNNEL_ERRORS, TunnelError } from '../errors.ts';
import { message } from './message.ts';
import type { Message, UdpAddress } from './message.ts';
import { createDecoder, encodeMessage } from './wire-protocol.ts';
import type { MessageDecoder, WireProtocol } from './wire-protocol.ts';

/** A datagram and the user it comes from or goes to. */
export interface Datagram {
  payload: Buffer;
  /** The user's address as the side that listens for users knows it; absent when the peer did not say. */
  user: UdpAddress | undefined;
}

/** Who is told what a link carries. */
export interface UdpLinkHandler {
  onDatagram(datagram: Datagram): void;
  /** The link is over; once, last call. */
  onClose(err?: Error): void;
}

/** How a link behaves. */
export interface UdpLinkOptions {
  clock: Clock;
  /** How messages are framed: as on the session that the connection belongs to; v1 when absent. */
  wire?: WireProtocol | undefined;
  /** What waits for the connection; given by owners that outlive it. */
  queue?: DatagramQueue<Datagram>;
  /** Time between Ping messages, milliseconds; none when absent. Only providers send them, as frp has it. */
  pingMs?: number;
  /** A peer that is silent this long is dead, milliseconds; never when absent. */
  deadAfterMs?: number;
}

/** What a link has carried, in datagrams and payload bytes. */
export interface UdpLinkCounters {
  sent: number;
  received: number;
  bytesSent: number;
  bytesReceived: number;
  /** Datagrams too large for one message: some 7600 bytes in wire protocol v1, 49,000 in v2. */
  oversized: number;
}

/** frp's times: a provider sends Ping this often, and the other side gives it up after so much silence; milliseconds. */
export const UDP_PING_MS = 30_000;
export const UDP_DEAD_AFTER_MS = 60_000;

/** Zones are names of network interfaces, which have 15 characters at most. */
const MAX_ZONE_CHARACTERS = 64;

/** See the file's first line. */
export class UdpLink {
  readonly queue: DatagramQueue<Datagram>;
  readonly counters: UdpLinkCounters = { sent: 0, received: 0, bytesSent: 0, bytesReceived: 0, oversized: 0 };
  readonly #stream: ByteStream;
  readonly #handler: UdpLinkHandler;
  readonly #options: UdpLinkOptions;
  readonly #wire: WireProtocol;
  readonly #decoder: MessageDecoder;
  readonly #ping: Timer | undefined;
  #silence: Timer | undefined;
  #heardAt: number;
  #isClosed = false;

  /** Takes over the stream, which begins with the next byte of the first message. */
  constructor(stream: ByteStream, handler: UdpLinkHandler, options: UdpLinkOptions) {
    this.#stream = stream;
    this.#handler = handler;
    this.#options = options;
    this.#wire = options.wire ?? 'v1';
    this.#decoder = createDecoder(this.#wire);
    this.queue = options.queue ?? new DatagramQueue();
    this.#heardAt = options.clock.now();
    if (options.pingMs !== undefined)
      this.#ping = options.clock.every(options.pingMs, () => this.#write(message('Ping')));
    if (options.deadAfterMs !== undefined) this.#watchSilence(options.deadAfterMs);
    stream.setHandler({
      onData: (chunk) => this.#onData(chunk),
      onEnd: () => this.close(), // datagrams have no half-close
      onDrain: () => this.#flush(),
      onClose: (err) => this.close(err),
    });
    stream.resume();
    this.#flush();
  }

  /** Sends a datagram, or lets it wait while the connection is busy. */
  send(datagram: Datagram): void {
    if (this.#isClosed) return;
    if (this.queue.size > 0 || this.#stream.queuedBytes > LOW_WATER_BYTES) this.queue.push(datagram);
    else this.#carry(datagram);
  }

  /** Closes the connection. Idempotent; what waits in the queue stays there. */
  close(err?: Error): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#ping?.cancel();
    this.#silence?.cancel();
    this.#stream.destroy(err);
    this.#handler.onClose(err);
  }

  #carry(datagram: Datagram): void {
    const { payload, user } = datagram;
    try {
      this.#write(message('UDPPacket', { c: payload, r: user }));
      this.counters.sent += 1;
      this.counters.bytesSent += payload.length;
    } catch (err) {
      if (errorCode(err) !== TUNNEL_ERRORS.limit) throw err;
      this.counters.oversized += 1;
    }
  }

  #write(value: Message): void {
    this.#stream.write(encodeMessage(this.#wire, value));
  }

  #flush(): void {
    while (!this.#isClosed && this.#stream.queuedBytes <= LOW_WATER_BYTES) {
      const datagram = this.queue.shift();
      if (datagram === undefined) return;
      this.#carry(datagram);
    }
  }

  #onData(chunk: Buffer): void {
    this.#heardAt = this.#options.clock.now();
    try {
      this.#decoder.push(chunk);
      while (!this.#isClosed) {
        const value = this.#decoder.next();
        if (value === undefined) return;
        // Ping is heard by arriving; frps and frpc skip other messages too.
        if (value.name === 'UDPPacket')
          this.#receive({ payload: value.body.c, user: checkedUser(value.body.r) });
      }
    } catch (err) {
      if (!(err instanceof TunnelError)) throw err;
      this.close(err);
    }
  }

  #receive(datagram: Datagram): void {
    this.counters.received += 1;
    this.counters.bytesReceived += datagram.payload.length;
    this.#handler.onDatagram(datagram);
  }

  #watchSilence(limitMs: number): void {
    const { clock } = this.#options;
    const leftMs = this.#heardAt + limitMs - clock.now();
    if (leftMs > 0) this.#silence = clock.after(leftMs, () => this.#watchSilence(limitMs));
    else this.close(new TunnelError('timeout', `peer of a UDP connection silent for ${limitMs} ms`));
  }
}

/** An address as Go decodes it: its text is an IP address or empty. Throws TunnelError (protocol). */
function checkedUser(user: UdpAddress | undefined): UdpAddress | undefined {
  if (user === undefined) return undefined;
  if ((user.ip !== '' && isIP(user.ip) === 0) || user.zone.length > MAX_ZONE_CHARACTERS)
    throw new TunnelError('protocol', 'peer sent a UDPPacket whose address is none');
  return user;
}

/** The text that tells users apart. */
export function userKey(user: UdpAddress | undefined): string {
  return user === undefined ? '' : `${user.ip}%${user.zone}:${user.port}`;
}

/** The address of a UDP peer as messages carry it: a mapped IPv4 address is IPv4, a zone stands apart. */
export function userAddress(address: string, port: number): UdpAddress {
  const [ip = '', zone = ''] = address.replace(/^::ffff:(?=\d+\.)/iu, '').split('%');
  return { ip, port, zone };
}
