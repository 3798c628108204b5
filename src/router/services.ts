/** Which service a proxy belongs to, and the providers of every service, grouped. Pure. */
import type { ProxyInfo } from '../tunnel/frps/types.ts';

/** The transport of a service. */
export type ServiceProtocol = 'TCP' | 'UDP';

/** The service that a proxy is one instance of. */
export interface ServiceIdentity {
  name: string;
  namespace: string;
  protocol: ServiceProtocol;
  /** The port consumers connect to; undefined when the provider did not say. */
  port: number | undefined;
  /** The node the provider runs on; empty when it did not say. */
  node: string;
  /** Who provides it, usually a pod. */
  instance: string;
  /** False when the provider says that its health check fails. */
  isReady: boolean;
  /** Why it is not ready, in the provider's words; empty when it did not say. */
  message: string;
}

/** One proxy as an instance of a service. */
export interface Provider {
  identity: ServiceIdentity;
  proxy: ProxyInfo;
}

/** A service and everybody who provides it on this Router. */
export interface ServiceGroup {
  name: string;
  namespace: string;
  protocol: ServiceProtocol;
  /** Where the Router listens for it: a tcp or udp proxy's own port; undefined means the bind port. */
  remotePort: number | undefined;
  targetPort: number | undefined;
  /** Sorted by proxy name. */
  providers: Provider[];
}

/** Others' words are cut: there are as many as there are providers in one status. */
const MAX_MESSAGE_LENGTH = 200;

const LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/u;

/** Port from the text of a meta; undefined when it is none. */
function parsePort(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,5}$/u.test(text)) return undefined;
  const port = Number(text);
  return port >= 1 && port <= 65_535 ? port : undefined;
}

/**
 * The service of a proxy: from the metas `service`, `namespace`, `port`, `protocol`, `node`, `ready`, `message` as sidecars set
 * them, else from a name of the form SERVICE.NAMESPACE.REST. Undefined when it is neither.
 */
export function identifyService(proxy: ProxyInfo): ServiceIdentity | undefined {
  const { metas } = proxy;
  // On the wire a name carries its user as prefix (frp 6.2); the service is what follows.
  const prefix = proxy.user === '' ? '' : `${proxy.user}.`;
  const ownName = proxy.name.startsWith(prefix) ? proxy.name.slice(prefix.length) : proxy.name;
  const [first = '', second = '', ...rest] = ownName.split('.');
  const isNamed = metas['service'] !== undefined;
  const name = metas['service'] ?? first;
  const namespace = isNamed ? (metas['namespace'] ?? 'default') : second;
  if (!LABEL.test(name) || !LABEL.test(namespace)) return undefined;
  const instance = rest.join('.');
  if (!isNamed && instance === '') return undefined;
  const told = metas['protocol']?.toUpperCase();
  const isDatagram = proxy.type === 'udp' || proxy.type === 'sudp';
  return {
    name,
    namespace,
    protocol: told === 'TCP' || told === 'UDP' ? told : isDatagram ? 'UDP' : 'TCP',
    port: parsePort(metas['port']),
    node: metas['node'] ?? '',
    instance: instance === '' ? ownName : instance,
    isReady: metas['ready'] !== 'false',
    message: (metas['message'] ?? '').slice(0, MAX_MESSAGE_LENGTH),
  };
}

/** Groups proxies by service, sorted by namespace, name, protocol and port. */
export function groupServices(proxies: readonly ProxyInfo[]): ServiceGroup[] {
  const groups = new Map<string, ServiceGroup>();
  for (const proxy of proxies) {
    const identity = identifyService(proxy);
    if (identity === undefined) continue;
    const { name, namespace, protocol, port: targetPort } = identity;
    const { remotePort } = proxy;
    const key = `${namespace}/${name}/${protocol}/${targetPort ?? 0}/${remotePort ?? 0}`;
    let group = groups.get(key);
    if (group === undefined) {
      group = { name, namespace, protocol, remotePort, targetPort, providers: [] };
      groups.set(key, group);
    }
    group.providers.push({ identity, proxy });
  }
  for (const group of groups.values())
    group.providers.sort((a, b) => compareText(a.proxy.name, b.proxy.name));
  return [...groups.values()].sort(
    (a, b) =>
      compareText(a.namespace, b.namespace) ||
      compareText(a.name, b.name) ||
      compareText(a.protocol, b.protocol) ||
      (a.targetPort ?? 0) - (b.targetPort ?? 0) ||
      (a.remotePort ?? 0) - (b.remotePort ?? 0),
  );
}

/** Orders texts by code unit, the same on every machine. */
export function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
