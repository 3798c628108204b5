/** The proxies of a client: registered on every session, retried when refused, given their connections. */
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { message } from '../frp/message.ts';
import type { Message, MessageOf } from '../frp/message.ts';
import { withPrefix } from '../frp/message-channel.ts';
import type { WireProtocol } from '../frp/wire-protocol.ts';
import { acceptPayload, offeredMetas } from '../seal/negotiation.ts';
import { createLimiter, proxyHeader } from './provider-stream.ts';
import type { StreamLimiter } from './provider-stream.ts';
import type { ProxyDefinition, ProxyHandle } from './types.ts';

/** What a table needs. */
export interface ProxyTableDeps {
  /** frp's `user`: wire names are `user.name`. */
  user: string;
  clock: Clock;
  log: Logger;
  /** Sends a control message; dropped while offline. */
  send(value: Message): void;
  onChange(): void;
}

/** Undoes the wrapping of work connections. */
export interface WorkUnwrapper {
  readonly wireProtocol: WireProtocol;
  wrapWork(stream: ByteStream, useEncryption: boolean, useCompression: boolean): ByteStream;
}

/** Without an answer NewProxy is sent again, and a refused proxy is tried again, as frp does; milliseconds. */
const ANSWER_TIMEOUT_MS = 20_000;
const REFUSED_RETRY_MS = 30_000;
/** Refused visitors of one proxy are in the log once in this time, milliseconds. */
const REFUSAL_LOG_MS = 10_000;

interface Entry {
  definition: ProxyDefinition;
  limit: StreamLimiter;
  phase: ProxyHandle['phase'];
  error: string | undefined;
  remoteAddr: string | undefined;
  timer: Timer | undefined;
  refusalLoggedAt: number;
}

/** See the file's first line. */
export class ProxyTable {
  readonly #deps: ProxyTableDeps;
  readonly #entries = new Map<string, Entry>();
  #isOnline = false;

  constructor(deps: ProxyTableDeps) {
    this.#deps = deps;
  }

  /** Adds a proxy. Throws TunnelError when the name is taken (limit) or its bandwidth is none (proxyRefused). */
  add(definition: ProxyDefinition): ProxyHandle {
    const wireName = this.#wireName(definition.name);
    if (this.#entries.has(wireName))
      throw new TunnelError('limit', `proxy ${definition.name} is registered already`);
    const entry: Entry = {
      definition,
      limit: createLimiter(definition, this.#deps.clock),
      phase: 'waiting',
      error: undefined,
      remoteAddr: undefined,
      timer: undefined,
      refusalLoggedAt: -Infinity,
    };
    this.#entries.set(wireName, entry);
    if (this.#isOnline) this.#register(wireName, entry);
    return {
      name: definition.name,
      get phase() {
        return entry.phase;
      },
      get error() {
        return entry.error;
      },
      get remoteAddr() {
        return entry.remoteAddr;
      },
      close: () => this.#remove(wireName, entry),
    };
  }

  /** A session is up: everything is registered anew. */
  onOnline(): void {
    this.#isOnline = true;
    for (const [wireName, entry] of this.#entries) this.#register(wireName, entry);
  }

  /** The session is gone. */
  onOffline(): void {
    this.#isOnline = false;
    for (const entry of this.#entries.values()) {
      entry.timer?.cancel();
      entry.phase = 'waiting';
    }
  }

  /** Releases all timers. */
  stop(): void {
    this.onOffline();
  }

  /** The server answered a NewProxy. */
  onAnswer(answer: MessageOf<'NewProxyResp'>['body']): void {
    const entry = this.#entries.get(answer.proxy_name);
    if (entry === undefined) return;
    entry.timer?.cancel();
    entry.remoteAddr = answer.remote_addr === '' ? undefined : answer.remote_addr;
    entry.error = answer.error === '' ? undefined : answer.error;
    entry.phase = entry.error === undefined ? 'running' : 'refused';
    if (entry.error !== undefined) {
      this.#deps.log.warn('proxy refused', { proxy: answer.proxy_name, error: entry.error });
      entry.timer = this.#deps.clock.after(REFUSED_RETRY_MS, () => this.#register(answer.proxy_name, entry));
    }
    this.#deps.onChange();
  }

  /** A connection for one of the proxies. */
  onWorkConnection(
    start: MessageOf<'StartWorkConn'>['body'],
    stream: ByteStream,
    unwrapper: WorkUnwrapper,
  ): void {
    const entry = this.#entries.get(start.proxy_name);
    if (entry === undefined) {
      stream.destroy(new TunnelError('closed', `connection for unknown proxy ${start.proxy_name}`));
      return;
    }
    const { definition } = entry;
    const header = proxyHeader(definition, start);
    if (header === undefined) {
      stream.destroy(
        new TunnelError('protocol', `no PROXY header for ${start.src_addr} to ${start.dst_addr}`),
      );
      return;
    }
    const payload = unwrapper.wrapWork(
      entry.limit(stream),
      definition.useEncryption ?? false,
      definition.useCompression ?? false,
    );
    acceptPayload(payload, definition, start.metas, this.#deps.clock).then(
      ({ stream: opened, isSealed, confirmation }) =>
        definition.onConnection({
          stream: withPrefix(opened, header),
          isSealed,
          ...(confirmation === undefined ? {} : { confirmation }),
          wire: unwrapper.wireProtocol,
          ...(start.src_addr === '' ? {} : { sourceAddress: start.src_addr, sourcePort: start.src_port }),
        }),
      (err: unknown) => this.#refused(entry, err),
    );
  }

  /** A visitor that cannot be sealed; in the log now and then, for whoever can connect can make it happen. */
  #refused(entry: Entry, err: unknown): void {
    const fields = { proxy: entry.definition.name, error: err };
    const now = this.#deps.clock.now();
    if (now - entry.refusalLoggedAt < REFUSAL_LOG_MS) {
      this.#deps.log.debug('visitor refused', fields);
      return;
    }
    entry.refusalLoggedAt = now;
    this.#deps.log.warn('visitor refused', fields);
  }

  #wireName(name: string): string {
    return this.#deps.user === '' ? name : `${this.#deps.user}.${name}`;
  }

  #register(wireName: string, entry: Entry): void {
    const { definition } = entry;
    this.#deps.send(
      message('NewProxy', {
        proxy_name: wireName,
        proxy_type: definition.type,
        use_encryption: definition.useEncryption ?? false,
        use_compression: definition.useCompression ?? false,
        metas: { ...definition.metas, ...offeredMetas(definition.seal, definition.confirm) },
        annotations: definition.annotations ?? {},
        bandwidth_limit: definition.bandwidthLimit ?? '',
        bandwidth_limit_mode: definition.bandwidthLimitMode ?? '',
        group: definition.group ?? '',
        group_key: definition.groupKey ?? '',
        remote_port: definition.remotePort ?? 0,
        sk: definition.secretKey ?? '',
        allow_users: definition.allowUsers ?? [],
      }),
    );
    entry.timer?.cancel();
    entry.timer = this.#deps.clock.after(ANSWER_TIMEOUT_MS, () => this.#register(wireName, entry));
  }

  #remove(wireName: string, entry: Entry): void {
    entry.timer?.cancel();
    if (this.#entries.get(wireName) !== entry) return;
    this.#entries.delete(wireName);
    if (this.#isOnline) this.#deps.send(message('CloseProxy', { proxy_name: wireName }));
  }
}
