/** One registered proxy: what it is, its open connections, and how a user connection reaches its client. */
import type { Clock } from '../../lib/clock.ts';
import { limitedStream, parseBandwidth, TokenBucket } from '../bandwidth.ts';
import type { ByteStream } from '../byte-stream.ts';
import { message } from '../frp/message.ts';
import type { MessageOf } from '../frp/message.ts';
import type { MessageChannel } from '../frp/message-channel.ts';
import { wrapPayload } from '../frp/payload.ts';
import type { WireProtocol } from '../frp/wire-protocol.ts';
import { relay } from '../relay.ts';
import type { RelayHandle, RelayStats } from '../relay.ts';
import { agreedMetas } from '../seal/negotiation.ts';
import { TrafficCounter } from './traffic.ts';
import type { ServerSession } from './session.ts';
import type { ProxyInfo } from './types.ts';
import { datagramWire } from './udp-bridge.ts';

/** Addresses of a user connection, for StartWorkConn. */
export interface UserAddresses {
  sourceAddr: string;
  sourcePort: number;
  destinationAddr: string;
  destinationPort: number;
  /** Metadata of a visitor connection. */
  visitorMetas?: Readonly<Record<string, string>>;
}

/** What a NewProxy asked for. */
export type ProxyRequest = MessageOf<'NewProxy'>['body'];

/** A proxy; types with a listener of their own extend it. */
export class ServerProxy {
  readonly name: string;
  readonly type: string;
  readonly request: ProxyRequest;
  readonly session: ServerSession;
  readonly traffic = new TrafficCounter();
  readonly startedAt: Date;
  readonly #clock: Clock;
  /** What the proxy's connections may carry together, where it asked the server to limit them. */
  readonly #bucket: TokenBucket | undefined;
  /** Port on the server, once bound. */
  remotePort: number | undefined;

  /** Throws TunnelError (proxyRefused) for a bandwidth limit that cannot be read. */
  constructor(request: ProxyRequest, session: ServerSession, clock: Clock) {
    this.name = request.proxy_name;
    this.type = request.proxy_type === '' ? 'tcp' : request.proxy_type;
    this.request = request;
    this.session = session;
    this.#clock = clock;
    this.startedAt = clock.wallNow();
    const limit =
      request.bandwidth_limit_mode === 'server' ? parseBandwidth(request.bandwidth_limit) : undefined;
    this.#bucket = limit === undefined ? undefined : new TokenBucket(limit, clock);
  }

  /** Whether connections carry datagrams: nobody ends them, and half of one is of no use. */
  get isDatagram(): boolean {
    return this.type === 'udp' || this.type === 'sudp';
  }

  /** How the client frames them. */
  get datagramWire(): WireProtocol {
    return datagramWire(this.session.wireProtocol, this.session.login.version);
  }

  /** Starts listening, where the type has a listener. Rejects with TunnelError (proxyRefused). */
  open(): Promise<void> {
    return Promise.resolve();
  }

  /** Stops listening; connections under way go on. */
  close(): void {}

  /**
   * Takes a work connection and tells the client what it is for; who can go elsewhere does not wait for a client that
   * falls silent. Rejects with TunnelError; retryable elsewhere.
   */
  async startWork(
    addresses: UserAddresses,
    limitMs: number,
    canGoElsewhere = false,
  ): Promise<MessageChannel> {
    const channel = await this.session.work.take(limitMs, canGoElsewhere);
    channel.send(
      message('StartWorkConn', {
        proxy_name: this.name,
        src_addr: addresses.sourceAddr,
        src_port: addresses.sourcePort,
        dst_addr: addresses.destinationAddr,
        dst_port: addresses.destinationPort,
        metas: agreedMetas(addresses.visitorMetas ?? {}, this.request.metas),
      }),
    );
    return channel;
  }

  /** Joins a user's stream with a started work connection; `others` count the traffic too. */
  join(user: ByteStream, work: MessageChannel, others: readonly TrafficCounter[] = []): RelayHandle {
    const provider = this.wrapWork(work);
    const counters = [this.traffic, ...others];
    const handle: RelayHandle = relay(user, provider, {
      clock: this.#clock,
      onClose: (stats: RelayStats) => {
        for (const counter of counters) counter.ended(handle, stats);
      },
    });
    for (const counter of counters) counter.began(handle, this.isDatagram);
    return handle;
  }

  /** The payload of a started work connection, wrapped as the proxy asked; a limit counts what is carried, not the wrapping. */
  protected wrapWork(work: MessageChannel): ByteStream {
    const payload = this.#unwrap(work);
    return this.#bucket === undefined ? payload : limitedStream(payload, this.#bucket, this.#clock);
  }

  #unwrap(work: MessageChannel): ByteStream {
    if (this.isDatagram && isBefore034(this.session.login.version)) return work.release();
    const { use_encryption: useEncryption, use_compression: useCompression } = this.request;
    return wrapPayload(work.release(), { useEncryption, useCompression, key: this.session.tokenKey });
  }

  /** What the dashboard and status report. */
  info(): ProxyInfo {
    const { login } = this.session;
    return {
      name: this.name,
      type: this.type,
      runId: this.session.runId,
      user: login.user,
      clientId: login.client_id,
      remoteAddr: this.session.remoteAddr,
      metas: this.request.metas,
      annotations: this.request.annotations,
      remotePort: this.remotePort,
      useEncryption: this.request.use_encryption,
      useCompression: this.request.use_compression,
      bandwidthLimit: this.request.bandwidth_limit,
      bandwidthLimitMode: this.request.bandwidth_limit_mode,
      group: this.request.group,
      groupKey: this.request.group_key,
      startedAt: this.startedAt,
      isLost: this.session.isLost,
      roundTripMs: this.session.roundTripMs,
      ...this.traffic.snapshot(),
    };
  }
}

/** frpc 0.33 announces wrapping for udp and sudp and then does not wrap. */
function isBefore034(version: string): boolean {
  const [major = NaN, minor = NaN] = version.split('.').map(Number);
  return major === 0 && minor < 34;
}
