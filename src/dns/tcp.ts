/** The TCP side (RFC 7766): pipelined queries answered as they are ready, with bounds on connections, queries and silence. */
import { createServer } from 'node:net';
import { isLoopbackHost } from '../lib/address.ts';
import { errorMessage } from '../lib/errors.ts';
import { frame, FrameReader } from './framing.ts';
import type { Server, Socket } from 'node:net';
import type { HostPort } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import type { DnsLimits } from './config.ts';
import type { ListenerOptions } from './udp.ts';

/** What the TCP listener needs beside that. */
export interface TcpListenerOptions extends ListenerOptions {
  clock: Clock;
  limits: Pick<DnsLimits, 'maxConnections' | 'maxPipelined' | 'idleTimeoutMs'>;
  /** Connections of all listeners of the server; the limit holds for them together. */
  connections: Set<TcpConnection>;
}

/** Unsent answers of a connection at which no more queries are read, bytes: a few of the largest. */
const MAX_UNSENT_BYTES = 256 * 1024;

/** Listens and serves; rejects with the system's error. The caller closes the server and the connections. */
export function listenTcp(address: HostPort, options: TcpListenerOptions): Promise<Server> {
  const { counters, log, connections } = options;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    const isAllowed = options.allowRemoteClients || isLoopbackHost(plainAddress(socket));
    const isFull = isAllowed && connections.size >= options.limits.maxConnections;
    if (!isAllowed || (isFull && !closeLongestIdle(connections))) {
      if (isAllowed) counters.connectionsRefused += 1;
      else {
        counters.dropped += 1;
        options.onRemote(plainAddress(socket));
      }
      socket.on('error', () => {}); // it is being destroyed
      socket.destroy();
      return;
    }
    const connection = new TcpConnection(socket, options);
    connections.add(connection);
    socket.on('close', () => connections.delete(connection));
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address.host, port: address.port, ipv6Only: address.host.includes(':') }, () => {
      server.removeListener('error', reject);
      server.on('error', (err) => log.warn('dns tcp listener failed', { error: errorMessage(err) }));
      resolve(server);
    });
  });
}

/** Makes room for another one (RFC 7766 6.2.3 lets a server); false when all have a query in hand. */
function closeLongestIdle(connections: Set<TcpConnection>): boolean {
  let chosen: TcpConnection | undefined;
  for (const connection of connections) {
    if (connection.idleSince < (chosen?.idleSince ?? Number.POSITIVE_INFINITY)) chosen = connection;
  }
  if (chosen === undefined) return false;
  connections.delete(chosen); // its close event comes later
  chosen.destroy();
  return true;
}

function plainAddress(socket: Socket): string {
  return socket.remoteAddress ?? '';
}

/** One client's connection. */
export class TcpConnection {
  readonly #socket: Socket;
  readonly #options: TcpListenerOptions;
  readonly #reader = new FrameReader();
  /** Whole messages not taken up yet; reading stops while there are any, so they come from one chunk. */
  #queue: Buffer[] = [];
  #open = 0;
  #lastQueryAt: number;
  #hasEnded = false;

  constructor(socket: Socket, options: TcpListenerOptions) {
    this.#socket = socket;
    this.#options = options;
    this.#lastQueryAt = options.clock.now();
    socket.on('data', (chunk) => {
      this.#queue.push(...this.#reader.push(chunk));
      this.#serve();
    });
    socket.on('drain', () => this.#serve());
    socket.on('end', () => {
      this.#hasEnded = true;
      this.#serve();
    });
    socket.on('error', () => socket.destroy()); // a client that went away; nothing to report
  }

  /** When its last query was answered; infinite while one is being answered, milliseconds of the clock. */
  get idleSince(): number {
    return this.#open === 0 ? this.#lastQueryAt : Number.POSITIVE_INFINITY;
  }

  /** Closes it when no whole query came for the limit and none is being answered. */
  closeIfIdle(now: number): void {
    if (now - this.idleSince >= this.#options.limits.idleTimeoutMs) this.#socket.destroy();
  }

  /** Closes it at once. */
  destroy(): void {
    this.#socket.destroy();
  }

  // Takes up queries while there is room, and reads from the network only then: a client that does not read its answers,
  // or asks faster than upstreams answer, is slowed down by TCP itself.
  #serve(): void {
    let message: Buffer | undefined;
    while (this.#hasRoom() && (message = this.#queue.shift()) !== undefined) {
      this.#lastQueryAt = this.#options.clock.now();
      const answer = this.#options.responder.respond(message, 'tcp');
      if (answer instanceof Promise) this.#answerLater(answer);
      else if (answer !== undefined) this.#socket.write(frame(answer));
    }
    if (this.#queue.length > 0 || !this.#hasRoom()) this.#socket.pause();
    else if (this.#hasEnded && this.#open === 0) this.#socket.end();
    else this.#socket.resume();
  }

  #answerLater(answer: Promise<Buffer>): void {
    this.#open += 1;
    void answer.then((bytes) => {
      this.#open -= 1;
      this.#lastQueryAt = this.#options.clock.now();
      if (this.#socket.destroyed) return;
      this.#socket.write(frame(bytes));
      this.#serve();
    });
  }

  #hasRoom(): boolean {
    return this.#open < this.#options.limits.maxPipelined && this.#socket.writableLength < MAX_UNSENT_BYTES;
  }
}
