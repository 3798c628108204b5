/** The visitor's half of sudp: a connection that is opened by the first datagram, closed by silence, opened again by the next. */
import type { Clock, Timer } from '../../lib/clock.ts';
import type { ByteStream } from '../byte-stream.ts';
import { DatagramQueue } from '../datagram-queue.ts';
import { UDP_DEAD_AFTER_MS, UdpLink } from '../frp/udp-link.ts';
import type { Datagram } from '../frp/udp-link.ts';
import type { WireProtocol } from '../frp/wire-protocol.ts';

/** An opened visitor connection. */
export interface UdpVisitorConnection {
  stream: ByteStream;
  /** Of the session it belongs to; v1 when absent. */
  wire?: WireProtocol | undefined;
}

/** What a visitor needs. */
export interface UdpVisitorOptions {
  clock: Clock;
  /** Opens a visitor connection; may take as long as it wants, datagrams wait in a bounded queue meanwhile. */
  open(signal: AbortSignal): Promise<UdpVisitorConnection>;
  /** An answer for one of the users. */
  onDatagram(datagram: Datagram): void;
  /** A connection could not be opened; what waited for it is lost. */
  onFailure(err: unknown): void;
  /** `phase` has changed. */
  onChange?(): void;
}

/** What a visitor is doing. */
export type UdpVisitorPhase = 'idle' | 'opening' | 'open' | 'closed';

/** What a visitor has carried so far. */
export interface UdpVisitorCounters {
  /** Connections opened. */
  opened: number;
  /** Datagrams lost here. */
  dropped: number;
  /** Payload bytes from users. */
  bytesIn: number;
  /** Payload bytes to users. */
  bytesOut: number;
}

/** A failure is final for the datagrams that come this soon after it, milliseconds: each would fail the same way. */
const REOPEN_AFTER_MS = 200;
/** A connection without datagrams this long is closed, milliseconds: the provider forgets its users after 30 s. */
const IDLE_MS = 60_000;

/** See the file's first line. One visitor carries any number of users. */
export class UdpVisitor {
  readonly #options: UdpVisitorOptions;
  readonly #waiting = new DatagramQueue<Datagram>();
  readonly #closed = new AbortController();
  readonly #ended = { dropped: 0, bytesIn: 0, bytesOut: 0 };
  #phase: UdpVisitorPhase = 'idle';
  #link: UdpLink | undefined;
  #idleCheck: Timer | undefined;
  #opened = 0;
  #failedAt = -Infinity;

  constructor(options: UdpVisitorOptions) {
    this.#options = options;
  }

  get phase(): UdpVisitorPhase {
    return this.#phase;
  }

  get counters(): UdpVisitorCounters {
    const live = this.#link?.counters;
    return {
      opened: this.#opened,
      dropped: this.#ended.dropped + this.#waiting.dropped + (live?.oversized ?? 0),
      bytesIn: this.#ended.bytesIn + (live?.bytesSent ?? 0),
      bytesOut: this.#ended.bytesOut + (live?.bytesReceived ?? 0),
    };
  }

  /** Carries a datagram of a user, over a connection that is opened for it if there is none. */
  send(datagram: Datagram): void {
    switch (this.#phase) {
      case 'open':
        this.#link?.send(datagram);
        break;
      case 'opening':
        this.#waiting.push(datagram);
        break;
      case 'idle':
        if (this.#options.clock.now() - this.#failedAt < REOPEN_AFTER_MS) this.#ended.dropped += 1;
        else {
          this.#waiting.push(datagram);
          this.#open();
        }
        break;
      case 'closed':
        break;
    }
  }

  /** Closes the connection for good. Idempotent. */
  close(): void {
    if (this.#phase === 'closed') return;
    this.#to('closed');
    this.#closed.abort();
    this.#link?.close();
    this.#waiting.clear();
  }

  #open(): void {
    this.#to('opening');
    this.#options.open(this.#closed.signal).then(
      (connection) => {
        if (this.#phase === 'closed') connection.stream.destroy();
        else this.#carry(connection);
      },
      (err: unknown) => {
        if (this.#phase === 'closed') return;
        this.#waiting.clear();
        this.#failedAt = this.#options.clock.now();
        this.#to('idle');
        this.#options.onFailure(err);
      },
    );
  }

  #carry({ stream, wire }: UdpVisitorConnection): void {
    const { clock } = this.#options;
    this.#opened += 1;
    const link = new UdpLink(
      stream,
      {
        onDatagram: (datagram) => this.#options.onDatagram(datagram),
        onClose: () => this.#lost(link),
      },
      { clock, wire, queue: this.#waiting, deadAfterMs: UDP_DEAD_AFTER_MS },
    );
    this.#link = link;
    this.#to('open');
    let carried = 0;
    this.#idleCheck = clock.every(IDLE_MS, () => {
      const { sent, received } = link.counters;
      if (sent + received === carried) link.close();
      carried = sent + received;
    });
  }

  #lost(link: UdpLink): void {
    this.#idleCheck?.cancel();
    this.#link = undefined;
    this.#ended.dropped += link.counters.oversized;
    this.#ended.bytesIn += link.counters.bytesSent;
    this.#ended.bytesOut += link.counters.bytesReceived;
    this.#waiting.clear(); // by the time of the next connection these would be old
    if (this.#phase !== 'closed') this.#to('idle');
  }

  #to(phase: UdpVisitorPhase): void {
    this.#phase = phase;
    this.#options.onChange?.();
  }
}
