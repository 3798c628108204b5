/** What the dashboard API of a frps says about nodes: proxies in, reports and the objects to change out. Pure. */
import { ROUTER_ANNOTATION } from '../../api/edge.ts';
import type { NodeMaintenance } from '../../api/gen/types.ts';
import { isUniqueId, maintenanceName, readRegistration, sshServiceName } from '../../api/maintenance.ts';
import { isDeepStrictEqual } from 'node:util';
import { withReport, withState } from './objects.ts';
import type { Cause, NodeReport, State } from './objects.ts';

/** The nodes that a frps has, by the names of their objects. */
export type Sightings = ReadonlyMap<string, NodeReport>;

/** More nodes than this are left out, in the order of their proxies' names. */
export const MAX_NODES = 4096;
/** A proxy of a node by its name alone, behind the `user.` of frpc. */
const NODE_PROXY = /^(?:[^.]+\.)?ssh-(.+)$/u;

interface Proxy {
  name: string;
  conf: Readonly<Record<string, unknown>>;
}

/**
 * The nodes among the proxies of a type, as `GET /api/proxy/{type}` lists them; throws when the answer is of another
 * form. A `tcp` proxy is the node's sshd at its own port; an `stcp` one is asked for at the bind port.
 */
export function readProxies(
  answer: unknown,
  type: 'tcp' | 'stcp',
  server: { address: string; bindPort: number | undefined },
): NodeReport[] {
  const { proxies } = (answer ?? {}) as { proxies?: unknown };
  if (!Array.isArray(proxies)) throw new Error('the answer has no list of proxies');
  return (proxies as unknown[]).flatMap((value) => {
    const proxy = readOnline(value);
    const node = proxy === undefined ? undefined : identify(proxy);
    if (proxy === undefined || node === undefined) return [];
    const port = type === 'tcp' ? numberOf(proxy.conf, 'remotePort', 'remote_port') : server.bindPort;
    if (port === undefined || port < 1 || port > 65_535) return []; // frps chose it and does not tell
    return [
      {
        ...node,
        address: server.address,
        port: String(port),
        status: 'online' as const,
        endpoint: type === 'tcp' ? '' : proxy.name,
      },
    ];
  });
}

/** The bind port in the answer of `GET /api/serverinfo`. */
export function readBindPort(answer: unknown): number | undefined {
  return numberOf((answer ?? {}) as Record<string, unknown>, 'bindPort', 'bind_port');
}

/** One report a node; of two proxies with one id the first counts. */
export function sightingsOf(reports: readonly NodeReport[]): Sightings {
  const found = new Map<string, NodeReport>();
  for (const report of reports) {
    const name = maintenanceName(report.uniqueId);
    if (!found.has(name) && found.size < MAX_NODES) found.set(name, report);
  }
  return found;
}

/** A proxy that is connected now; one that is not has no configuration. */
function readOnline(value: unknown): Proxy | undefined {
  const { name, conf, status } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (status !== 'online' || typeof name !== 'string' || typeof conf !== 'object' || conf === null)
    return undefined;
  return { name, conf: conf as Record<string, unknown> };
}

function identify({ name, conf }: Proxy): Pick<NodeReport, 'uniqueId' | 'nodeName' | 'hostKeys'> | undefined {
  const registration = readRegistration(textsOf(conf['metadatas']));
  if (registration !== undefined) return registration;
  const [, uniqueId = ''] = NODE_PROXY.exec(name) ?? [];
  return isUniqueId(uniqueId) ? { uniqueId, nodeName: undefined, hostKeys: undefined } : undefined;
}

function textsOf(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
  );
}

function numberOf(fields: Readonly<Record<string, unknown>>, ...keys: string[]): number | undefined {
  const value = keys.map((key) => fields[key]).find((found) => typeof found === 'number');
  return typeof value === 'number' && Number.isInteger(value) ? value : undefined;
}

/** Whether the state of an object is this frps's to say: no Router answers for it, and it leads to this address. */
export function isFollowed(object: NodeMaintenance, address: string): boolean {
  return (
    (object.metadata.annotations?.[ROUTER_ANNOTATION] ?? '') === '' &&
    (object.spec.services ?? []).some(({ frpServerIpAddress }) => frpServerIpAddress === address)
  );
}

/** The object of a node that the frps has; the object itself when it says so already. A Router's object is left alone. */
export function seen(
  current: NodeMaintenance | undefined,
  report: NodeReport,
  now: Date,
): NodeMaintenance | undefined {
  if ((current?.metadata.annotations?.[ROUTER_ANNOTATION] ?? '') !== '') return current;
  const wanted = withReport(current, report);
  const cause = {
    reason: 'ProxyOnline',
    message: `the frps at ${report.address} has the node's proxy`,
  };
  const object =
    current !== undefined &&
    isDeepStrictEqual(wanted.spec, current.spec) &&
    isDeepStrictEqual(wanted.metadata, current.metadata)
      ? current
      : wanted;
  return withState(object, 'online', now, { only: sshServiceName(report.uniqueId), cause });
}

/** The object of a node that the frps has not; the object itself when it is offline already, or not this frps's. */
export function unseen(
  current: NodeMaintenance | undefined,
  address: string,
  cause: Cause,
  now: Date,
): NodeMaintenance | undefined {
  if (current === undefined || !isFollowed(current, address)) return current;
  return withState(current, 'offline', now, { cause });
}

/** The state of an object's node, for logs and counts. */
export function stateOf(object: NodeMaintenance): State {
  const service = object.spec.services?.[0]?.name;
  return object.status?.services?.find(({ name }) => name === service)?.status ?? 'offline';
}
