/** Visitor connections: who is admitted to which proxy, and the use that visitors make of targets. */
import { errorMessage } from '../../lib/errors.ts';
import type { Clock } from '../../lib/clock.ts';
import { offersConfirmation } from '../confirmation.ts';
import { TunnelError } from '../errors.ts';
import { isAuthKey } from '../frp/auth.ts';
import { deriveKey } from '../frp/cipher.ts';
import { message } from '../frp/message.ts';
import type { MessageOf } from '../frp/message.ts';
import type { MessageChannel } from '../frp/message-channel.ts';
import { wrapPayload } from '../frp/payload.ts';
import { plainAddress } from '../frp/proxy-protocol.ts';
import { agreedMetas } from '../seal/negotiation.ts';
import type { ServerProxy, UserAddresses } from './proxy.ts';
import type { ServerSession } from './session.ts';
import { TrafficCounter } from './traffic.ts';
import type { FrpServerConfig, FrpServerHooks, VisitorInfo } from './types.ts';
import { bridgeDatagrams, datagramWire } from './udp-bridge.ts';

/** What admission needs of the server. */
export interface VisitorDeps {
  clock: Clock;
  config(): FrpServerConfig;
  proxy(name: string): ServerProxy | undefined;
  session(runId: string): ServerSession | undefined;
  pickProvider: NonNullable<FrpServerHooks['pickProvider']>;
  userConnTimeoutMs(): number;
  totals: TrafficCounter;
  onChange(): void;
}

type Request = MessageOf<'NewVisitorConn'>['body'];

/** Proxy types that visitors may connect to. */
const VISITABLE = new Set(['stcp', 'sudp']);
/** Uses remembered; beyond, those without an open connection are forgotten. */
const MAX_IDLE_USES = 1000;
const NOBODY: ReadonlySet<string> = new Set();
/** Providers of one service tried for one connection. */
const MAX_TRIES = 3;

interface Use {
  info: Omit<VisitorInfo, 'connections' | 'bytesIn' | 'bytesOut'>;
  /** Its session is over: the use goes with its last connection. */
  isGone: boolean;
  traffic: TrafficCounter;
}

/** See the file's first line. */
export class Visitors {
  readonly #deps: VisitorDeps;
  readonly #uses = new Map<string, Use>();
  /** How many visitor connections wait for a work connection of each proxy. */
  readonly #waiting = new Map<ServerProxy, number>();

  constructor(deps: VisitorDeps) {
    this.#deps = deps;
  }

  /**
   * Serves one visitor connection. The answer is sent once a work connection stands, so that a visitor that is
   * refused may safely try elsewhere: nothing of its payload has been read. `isAdmissible` is false for a run id that
   * is not the visitor's own.
   */
  async serve(
    channel: MessageChannel,
    request: Request,
    remoteAddr: string,
    isAdmissible: boolean,
  ): Promise<void> {
    try {
      if (!isAdmissible)
        throw new TunnelError('visitorRefused', `no client with run id ${request.run_id} on this connection`);
      const session = this.#sessionOf(request);
      const { proxy, work } = await this.#reach(request, session, remoteAddr);
      const use = this.#use(request, session, remoteAddr, proxy.type);
      const agreed = agreedMetas(request.metas, proxy.request.metas);
      const metas = offersConfirmation(agreed) ? { ...agreed, provider: proxy.name } : agreed;
      channel.send(message('NewVisitorConnResp', { proxy_name: request.proxy_name, metas }));
      const user = wrapPayload(channel.release(), {
        useEncryption: request.use_encryption,
        useCompression: request.use_compression,
        key: request.use_encryption ? deriveKey(proxy.request.sk) : proxy.session.tokenKey,
      });
      const wire = datagramWire(channel.wireProtocol, session?.login.version ?? '');
      proxy.join(proxy.isDatagram ? bridgeDatagrams(user, wire, proxy.datagramWire) : user, work, [
        this.#deps.totals,
        use.traffic,
      ]);
      this.#deps.onChange();
    } catch (err) {
      const isDetailed = this.#deps.config().detailedErrorsToClient ?? true;
      channel.send(
        message('NewVisitorConnResp', {
          proxy_name: request.proxy_name,
          error: isDetailed ? errorMessage(err) : 'register visitor conn error',
        }),
      );
      channel.close();
      throw err;
    }
  }

  /** A visitor's session is gone; its uses are forgotten once their connections are closed. */
  forget(runId: string): void {
    for (const use of this.#uses.values()) {
      if (use.info.runId === runId) use.isGone = true;
    }
    this.#prune();
  }

  /** What visitors use now. */
  list(): VisitorInfo[] {
    this.#prune();
    return [...this.#uses.values()].map(({ info, traffic }) => {
      const { connections, bytesIn, bytesOut } = traffic.snapshot();
      return { ...info, connections, bytesIn, bytesOut };
    });
  }

  #prune(): void {
    const isCrowded = this.#uses.size >= MAX_IDLE_USES;
    for (const [key, use] of this.#uses) {
      if ((use.isGone || isCrowded) && use.traffic.openConnections === 0) this.#uses.delete(key);
    }
  }

  #sessionOf(request: Request): ServerSession | undefined {
    // Clients before 0.50 without a mux stay unknown; they count as the empty user, as with frps.
    if (request.run_id === '') return undefined;
    const session = this.#deps.session(request.run_id);
    if (session === undefined)
      throw new TunnelError('visitorRefused', `no client with run id ${request.run_id}`);
    return session;
  }

  /** Finds a provider that has a work connection; for a service, several are tried. */
  async #reach(
    request: Request,
    session: ServerSession | undefined,
    remoteAddr: string,
  ): Promise<{ proxy: ServerProxy; work: MessageChannel }> {
    const source = splitAddress(remoteAddr);
    const addresses = {
      sourceAddr: source.host,
      sourcePort: source.port,
      destinationAddr: '',
      destinationPort: 0,
      visitorMetas: request.metas,
    };
    const tried = new Set<string>();
    let failure: unknown;
    while (tried.size < MAX_TRIES) {
      const name = this.#target(request, session, remoteAddr, tried);
      if (name === undefined) break;
      tried.add(name);
      const proxy = this.#deps.proxy(name);
      if (proxy === undefined) break;
      this.#admit(proxy, request, session);
      try {
        return { proxy, work: await this.#startWork(proxy, addresses, name !== request.proxy_name) };
      } catch (err) {
        failure = err;
      }
    }
    if (failure !== undefined) throw failure;
    throw new TunnelError('visitorRefused', `no provider for ${request.proxy_name}`);
  }

  /** Waits for a work connection among a bounded number of others. */
  async #startWork(
    proxy: ServerProxy,
    addresses: UserAddresses,
    canGoElsewhere: boolean,
  ): Promise<MessageChannel> {
    const waiting = this.#waiting.get(proxy) ?? 0;
    if (waiting >= this.#deps.config().limits.maxQueuedVisitors) {
      throw new TunnelError('limit', `${waiting} visitors wait for proxy ${proxy.name} already`);
    }
    this.#waiting.set(proxy, waiting + 1);
    try {
      return await proxy.startWork(addresses, this.#deps.userConnTimeoutMs(), canGoElsewhere);
    } finally {
      const left = (this.#waiting.get(proxy) ?? 1) - 1;
      if (left === 0) this.#waiting.delete(proxy);
      else this.#waiting.set(proxy, left);
    }
  }

  #target(
    request: Request,
    session: ServerSession | undefined,
    remoteAddr: string,
    tried: ReadonlySet<string>,
  ): string | undefined {
    const name = request.proxy_name;
    if (this.#deps.proxy(name) !== undefined) return tried.has(name) ? undefined : name;
    const pick = (isAdmitted: (proxy: ServerProxy) => boolean): string | undefined =>
      this.#deps.pickProvider({
        name,
        sourceAddr: request.metas['sourceAddr'] ?? remoteAddr,
        preferNode: request.metas['preferNode'] ?? '',
        avoid: parseAvoided(request.metas['avoid']),
        admits: (candidate) => {
          const proxy = this.#deps.proxy(candidate);
          return (
            proxy !== undefined &&
            !tried.has(candidate) &&
            isAdmitted(proxy) &&
            this.#refusal(proxy, request, session) === undefined
          );
        },
      });
    return pick((proxy) => !proxy.session.isSilent) ?? pick(() => true);
  }

  #admit(proxy: ServerProxy, request: Request, session: ServerSession | undefined): void {
    const refusal = this.#refusal(proxy, request, session);
    if (refusal !== undefined) throw new TunnelError('visitorRefused', refusal);
  }

  /** Why a visitor may not use a proxy; the order of the checks is frp's. */
  #refusal(proxy: ServerProxy, request: Request, session: ServerSession | undefined): string | undefined {
    if (!VISITABLE.has(proxy.type)) return `proxy ${proxy.name} takes no visitors`;
    if (!isAuthKey(request.sign_key, proxy.request.sk, request.timestamp)) return 'invalid secret key';
    const user = session?.login.user ?? '';
    const allowed = proxy.request.allow_users;
    const isAllowed =
      allowed.length === 0
        ? user === proxy.session.login.user
        : allowed.includes('*') || allowed.includes(user);
    return isAllowed ? undefined : `user "${user}" is not allowed`;
  }

  #use(request: Request, session: ServerSession | undefined, remoteAddr: string, type: string): Use {
    const runId = session?.runId ?? '';
    const key = `${runId === '' ? remoteAddr : runId} ${request.proxy_name}`;
    const known = this.#uses.get(key);
    if (known !== undefined) {
      known.info.metas = request.metas;
      known.info.type = type;
      return known;
    }
    if (this.#uses.size >= MAX_IDLE_USES) this.#prune();
    const use: Use = {
      isGone: false,
      info: {
        runId,
        user: session?.login.user ?? '',
        clientId: session?.login.client_id ?? '',
        version: session?.login.version ?? '',
        remoteAddr,
        target: request.proxy_name,
        type,
        metas: request.metas,
        loginMetas: session?.login.metas ?? {},
        connectedAt: this.#deps.clock.wallNow(),
      },
      traffic: new TrafficCounter(),
    };
    this.#uses.set(key, use);
    return use;
  }
}

/** Proxies that a visitor had no luck with, separated by commas. */
function parseAvoided(text = ''): ReadonlySet<string> {
  return text === '' ? NOBODY : new Set(text.split(','));
}

/** Nothing for a connection over a unix socket, which has no address. */
function splitAddress(text: string): { host: string; port: number } {
  const at = text.lastIndexOf(':');
  if (at < 0) return { host: '', port: 0 };
  return {
    host: plainAddress(text.slice(0, at).replaceAll(/[[\]]/gu, '')),
    port: Number(text.slice(at + 1)),
  };
}
