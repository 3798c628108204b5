/** All proxies of the server by name: checks what a client asks for, and opens it. */
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { TunnelError } from '../errors.ts';
import { annotationProblem } from './annotations.ts';
import type { PortAllocator } from './ports.ts';
import { ServerProxy } from './proxy.ts';
import type { ProxyRequest } from './proxy.ts';
import type { ServerSession } from './session.ts';
import { TcpGroups } from './tcp-group.ts';
import { TcpProxy } from './tcp-proxy.ts';
import type { TrafficCounter } from './traffic.ts';
import type { FrpServerConfig, PortRange, ProxyInfo } from './types.ts';
import { UdpProxy } from './udp-proxy.ts';

/** What the registry needs of the server. */
export interface ProxyRegistryDeps {
  clock: Clock;
  log: Logger;
  ports: PortAllocator;
  /** The same numbers over UDP. */
  udpPorts: PortAllocator;
  totals: TrafficCounter;
  config(): FrpServerConfig;
  userConnTimeoutMs(): number;
  onChange(): void;
}

/** Types with a port on the server, and types that visitors ask for. */
const PORT_TYPES = new Set(['tcp', 'udp']);
const VISITED_TYPES = new Set(['stcp', 'sudp']);
const LIMIT_MODES = new Set(['', 'client', 'server']);

/** frp has no limit of its own; names are kept, and told in the status. */
const MAX_NAME_LENGTH = 1024;

/** See the file's first line. */
export class ProxyRegistry {
  readonly #deps: ProxyRegistryDeps;
  readonly #groups: TcpGroups;
  readonly #byName = new Map<string, ServerProxy>();

  constructor(deps: ProxyRegistryDeps) {
    this.#deps = deps;
    this.#groups = new TcpGroups(deps);
  }

  get(name: string): ServerProxy | undefined {
    return this.#byName.get(name);
  }

  list(): ProxyInfo[] {
    return [...this.#byName.values()].map((proxy) => proxy.info());
  }

  allowPorts(ranges: readonly PortRange[]): void {
    this.#deps.ports.allow(ranges);
    this.#deps.udpPorts.allow(ranges);
  }

  /** Opens a proxy. Rejects with TunnelError (proxyRefused); its message goes to the client. */
  async open(request: ProxyRequest, session: ServerSession): Promise<ServerProxy> {
    const refusal = this.#refusal(request, session);
    if (refusal !== undefined) throw new TunnelError('proxyRefused', refusal);
    const proxy = this.#create(request, session);
    // The name is taken before the port is bound, so that two clients cannot both get it.
    this.#byName.set(proxy.name, proxy);
    try {
      await proxy.open();
      return proxy;
    } catch (err) {
      this.remove(proxy);
      throw err;
    }
  }

  /** Forgets a proxy that is closed. */
  remove(proxy: ServerProxy): void {
    if (this.#byName.get(proxy.name) === proxy) this.#byName.delete(proxy.name);
  }

  #create(request: ProxyRequest, session: ServerSession): ServerProxy {
    if (VISITED_TYPES.has(request.proxy_type)) return new ServerProxy(request, session, this.#deps.clock);
    const { proxyBindAddr: bindAddr } = this.#deps.config();
    if (request.proxy_type !== 'udp')
      return new TcpProxy(request, session, { ...this.#deps, groups: this.#groups, bindAddr });
    return new UdpProxy(request, session, {
      ...this.#deps,
      ports: this.#deps.udpPorts,
      bindAddr,
      packetBytes: () => this.#deps.config().udpPacketSize,
    });
  }

  #refusal(request: ProxyRequest, session: ServerSession): string | undefined {
    const name = request.proxy_name;
    const type = request.proxy_type === '' ? 'tcp' : request.proxy_type;
    if (name === '') return 'proxy name is empty';
    if (name.length > MAX_NAME_LENGTH) return `proxy name is longer than ${MAX_NAME_LENGTH} characters`;
    if (!PORT_TYPES.has(type) && !VISITED_TYPES.has(type)) return `proxy type ${type} is not supported`;
    if (!LIMIT_MODES.has(request.bandwidth_limit_mode))
      return 'bandwidth limit mode should be client or server';
    const problem = annotationProblem(request.annotations);
    if (problem !== undefined) return problem;
    const { user } = session.login;
    if (user !== '' && !name.startsWith(`${user}.`))
      return `proxy name ${name} does not begin with the user ${user}`;
    if (this.#byName.has(name)) return `proxy name ${name} is already in use`;
    const { maxPortsPerClient } = this.#deps.config();
    if (PORT_TYPES.has(type) && maxPortsPerClient > 0 && this.#portsOf(session) >= maxPortsPerClient) {
      return `exceed the max_ports_per_client ${maxPortsPerClient}`;
    }
    return undefined;
  }

  #portsOf(session: ServerSession): number {
    let count = 0;
    for (const proxy of this.#byName.values())
      if (proxy.session === session && PORT_TYPES.has(proxy.type)) count += 1;
    return count;
  }
}
