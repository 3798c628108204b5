/** NodeMaintenance objects as the proxies of nodes' sshds ask for them. Pure. */
import { isDeepStrictEqual } from 'node:util';
import { API_VERSION, NODE_MAINTENANCES, ROUTER_ANNOTATION, SSH_HOST_KEYS_ANNOTATION } from '../api/edge.ts';
import type { NodeMaintenance, NodeMaintenanceStatus } from '../api/gen/types.ts';
import { maintenanceName, readRegistration, sshServiceName, uniqueIdOf } from '../api/maintenance.ts';
import type { Registration } from '../api/maintenance.ts';
import { rfc3339 } from '../lib/clock.ts';
import type { ProxyInfo } from '../tunnel/frps/types.ts';

/** Where operators reach the nodes of a Router. */
export interface Endpoint {
  /** The Router's name. */
  router: string;
  address: string;
  port: number;
}

/** What has to be written so that an object says what is true; an absent part is true already. */
export interface Plan {
  main?: NodeMaintenance;
  status?: NodeMaintenanceStatus;
}

/** A node's sshd as it is registered here. */
export interface RegisteredNode extends Registration {
  /** Whether nothing has come from the node for seconds. */
  isLost: boolean;
}

/** The registered nodes by the names of their objects. Of two proxies with one id the one that came last counts. */
export function registrations(proxies: readonly ProxyInfo[]): Map<string, RegisteredNode> {
  const found = new Map<string, { startedAt: Date; registration: RegisteredNode }>();
  for (const { metas, startedAt, isLost } of proxies) {
    const registration = readRegistration(metas);
    if (registration === undefined) continue;
    const name = maintenanceName(registration.uniqueId);
    const earlier = found.get(name);
    if (earlier !== undefined && earlier.startedAt > startedAt) continue;
    found.set(name, { startedAt, registration: { ...registration, isLost } });
  }
  return new Map([...found].map(([name, { registration }]) => [name, registration]));
}

/** Whether the Router called `router` answers for the state of an object. */
export function isOwn(object: NodeMaintenance, router: string): boolean {
  return object.metadata.annotations?.[ROUTER_ANNOTATION] === router;
}

/**
 * What to write where a node is registered here. A node that another Router has online is that Router's: it is taken
 * over when it goes offline there, so two Routers never overwrite each other in turns.
 */
export function planOnline(
  current: NodeMaintenance | undefined,
  registration: Registration,
  endpoint: Endpoint,
  now: Date,
): Plan {
  const name = sshServiceName(registration.uniqueId);
  if (current !== undefined && isElsewhere(current, name, endpoint.router)) return {};
  const main = mainPart(current, registration, endpoint);
  const why = { reason: 'TunnelUp', message: `the node is reached through ${endpoint.router}` };
  const status = statusPart(current?.status, name, true, why, now);
  return {
    ...(current !== undefined && isSameMain(main, current) ? {} : { main }),
    ...(status === undefined ? {} : { status }),
  };
}

/** What to write to an object of this Router whose node is not registered here, or `isLost`: registered, and silent. */
export function planOffline(current: NodeMaintenance, router: string, now: Date, isLost = false): Plan {
  if (!isOwn(current, router)) return {};
  const uniqueId = uniqueIdOf(current.metadata.name ?? '');
  const why = isLost
    ? { reason: 'NodeSilent', message: `${router} has a tunnel to the node, and hears nothing through it` }
    : { reason: 'TunnelDown', message: `${router} has no tunnel to the node` };
  const status = statusPart(current.status, sshServiceName(uniqueId), false, why, now);
  return status === undefined ? {} : { status };
}

function isElsewhere(current: NodeMaintenance, service: string, router: string): boolean {
  const owner = current.metadata.annotations?.[ROUTER_ANNOTATION] ?? '';
  const state = current.status?.services?.find(({ name }) => name === service)?.status;
  return owner !== '' && owner !== router && state === 'online';
}

function mainPart(
  current: NodeMaintenance | undefined,
  { uniqueId, nodeName, hostKeys }: Registration,
  { router, address, port }: Endpoint,
): NodeMaintenance {
  const name = sshServiceName(uniqueId);
  const entry = {
    name,
    type: 'ssh',
    proxyPort: String(port),
    frpServerIpAddress: address,
    uniqueID: uniqueId,
  };
  const others = (current?.spec.services ?? []).filter((service) => service.name !== name);
  return {
    apiVersion: API_VERSION,
    kind: NODE_MAINTENANCES.kind as 'NodeMaintenance',
    metadata: {
      ...(current?.metadata ?? { name: maintenanceName(uniqueId) }),
      annotations: {
        ...current?.metadata.annotations,
        [ROUTER_ANNOTATION]: router,
        [SSH_HOST_KEYS_ANNOTATION]: hostKeys,
      },
    },
    spec: {
      ...current?.spec,
      nodeName,
      proxy: current?.spec.proxy ?? { type: 'FRP', endpoint: '' },
      services: [entry, ...others],
    },
  };
}

function isSameMain(main: NodeMaintenance, current: NodeMaintenance): boolean {
  const sorted = ({ spec }: NodeMaintenance) => ({
    ...spec,
    services: [...(spec.services ?? [])].sort((a, b) => (a.name < b.name ? -1 : 1)),
  });
  return (
    isDeepStrictEqual(sorted(main), sorted(current)) &&
    isDeepStrictEqual(main.metadata.annotations, current.metadata.annotations)
  );
}

/** The next status; undefined when the service has this state already. */
function statusPart(
  current: NodeMaintenanceStatus | undefined,
  name: string,
  isOnline: boolean,
  why: { reason: string; message: string },
  now: Date,
): NodeMaintenanceStatus | undefined {
  const status = isOnline ? 'online' : 'offline';
  if (current?.services?.find((entry) => entry.name === name)?.status === status) return undefined;
  const timeStamp = rfc3339(now);
  return {
    conditions: [
      {
        name: isOnline ? 'maintainable' : 'unmaintainable',
        type: 'Maintainable',
        status: isOnline,
        timeStamp,
        ...why,
      },
    ],
    services: [
      { name, status, lastUpdate: timeStamp },
      ...(current?.services ?? []).filter((entry) => entry.name !== name),
    ],
  };
}
