/** From accepted sockets to the logical connections they carry: recognised, secured, bounded until a client has logged in. */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { formatHostPort } from '../../lib/address.ts';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { WebSocketUpgrades } from '../websocket/upgrade.ts';
import { DEFAULT_YAMUX_CONFIG } from '../yamux/config.ts';
import { YamuxSession } from '../yamux/session.ts';
import { PendingConnections } from './pending.ts';
import type { PendingConnection } from './pending.ts';
import type { SessionOrigin } from './session.ts';
import { TlsContext } from './tls-context.ts';
import { acceptTransport } from './transport.ts';
import type { FrpServerConfig } from './types.ts';

/** One accepted connection, as long as it lives. */
export interface Transport {
  origin: SessionOrigin;
  /** The client that logged in over it. */
  readonly runId: string | undefined;
  /** Its streams that have not said what they are for. */
  unidentified: number;
  /** A client logged in over it. */
  know(runId: string): void;
  /** It counts as pending no longer. Idempotent. */
  settle(): void;
}

/** What an acceptor needs of its server. */
export interface AcceptorDeps {
  clock: Clock;
  log: Logger;
  config: () => FrpServerConfig;
  /** Serves one logical connection. */
  serve: (stream: ByteStream, transport: Transport) => void;
}

/** Streams that a mux session may have open before its login: frp opens one. */
const MAX_STREAMS_BEFORE_LOGIN = 8;
/** And that it may try to open besides. */
const MAX_REFUSED_BEFORE_LOGIN = 100;
/** Answers that wait for a peer that has not logged in and does not read them, bytes. */
const MAX_BACKLOG_BEFORE_LOGIN_BYTES = 64 * 1024;

/** See the file's first line. */
export class Acceptor {
  readonly #deps: AcceptorDeps;
  readonly #tlsContext: TlsContext;
  readonly #upgrades = new WebSocketUpgrades();
  readonly #pending = new PendingConnections();
  readonly #muxes = new Set<YamuxSession>();

  constructor(deps: AcceptorDeps) {
    this.#deps = deps;
    this.#tlsContext = new TlsContext(deps.clock);
  }

  /** The mux sessions open now. */
  get muxes(): ReadonlySet<YamuxSession> {
    return this.#muxes;
  }

  /** Takes a socket over. */
  accept(socket: Socket): void {
    const { clock, log, config } = this.#deps;
    const remoteAddr =
      socket.remoteAddress === undefined
        ? 'unix'
        : formatHostPort(socket.remoteAddress, socket.remotePort ?? 0);
    const { tls, limits } = config();
    const pending = this.#pending.add(socket.remoteAddress, limits.maxPendingConnections, () =>
      socket.destroy(),
    );
    const options = {
      upgrade: (connection: Duplex) => this.#upgrades.accept(connection),
      context: () => this.#tlsContext.get(config().tls),
      wantsClientCertificate: tls.clientCa !== undefined,
      isForced: tls.force || tls.clientCa !== undefined,
    };
    acceptTransport(socket, options, limits.loginTimeoutMs, clock)
      .then(({ kind, stream }) =>
        kind === 'mux'
          ? this.#serveMux(stream, remoteAddr, pending)
          : this.#serveSingle(stream, remoteAddr, pending),
      )
      .catch((err: unknown) => {
        pending.settle();
        log.debug('connection refused', { remoteAddr, error: err });
      });
  }

  #serveMux(stream: ByteStream, remoteAddr: string, pending: PendingConnection): void {
    const { clock, config, serve } = this.#deps;
    const { limits, keepaliveMs } = config();
    let timer: Timer | undefined;
    let runId: string | undefined;
    let refused = 0;
    const transport: Transport = {
      unidentified: 0,
      origin: {
        remoteAddr,
        isMultiplexed: true,
        get mux() {
          return session;
        },
        cut: (err) => session.close(err),
      },
      get runId() {
        return runId;
      },
      know(id) {
        runId = id;
        pending.settle();
        session.maxControlBacklogBytes = DEFAULT_YAMUX_CONFIG.maxControlBacklogBytes;
      },
      settle: () => pending.settle(),
    };
    const session: YamuxSession = new YamuxSession(
      stream,
      'server',
      {
        onStream: (opened) => {
          const isRoom =
            runId === undefined
              ? session.streamCount <= MAX_STREAMS_BEFORE_LOGIN
              : transport.unidentified < limits.maxUnidentifiedStreams;
          if (isRoom) {
            serve(opened, transport);
            return;
          }
          opened.destroy();
          refused += 1;
          if (runId === undefined && refused > MAX_REFUSED_BEFORE_LOGIN)
            session.close(new TunnelError('limit', 'too many streams without a login'));
        },
        onClose: () => {
          timer?.cancel();
          pending.settle();
          this.#muxes.delete(session);
        },
      },
      { clock },
      {
        keepaliveMs,
        maxStreams: limits.maxStreamsPerSession,
        maxWindowBytes: limits.maxWindowBytes,
        maxControlBacklogBytes: MAX_BACKLOG_BEFORE_LOGIN_BYTES,
      },
    );
    this.#muxes.add(session);
    pending.cut = () => session.close(new TunnelError('limit', 'too many connections have not logged in'));
    timer = clock.after(limits.loginTimeoutMs, () => {
      if (runId === undefined) session.close(new TunnelError('timeout', 'no login over the mux session'));
    });
  }

  #serveSingle(stream: ByteStream, remoteAddr: string, pending: PendingConnection): void {
    const cut = (err: Error): void => stream.destroy(err);
    pending.cut = () => cut(new TunnelError('limit', 'too many connections have not logged in'));
    this.#deps.serve(stream, {
      unidentified: 0,
      origin: { remoteAddr, isMultiplexed: false, mux: undefined, cut },
      runId: undefined,
      know: () => pending.settle(),
      settle: () => pending.settle(),
    });
  }
}
