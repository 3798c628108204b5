/** Builds the status of the Router object from what the tunnel server sees. Pure; its size is bounded. */
import { CONDITION_READY } from '../api/edge.ts';
import type {
  RouterStatus,
  RouterStatusActiveService,
  RouterStatusActiveServiceProvider,
  RouterStatusAddress,
  RouterStatusClient,
  RouterStatusCondition,
} from '../api/gen/types.ts';
import { rfc3339 } from '../lib/clock.ts';
import type { FrpServerTotals, ProxyInfo, SessionInfo, VisitorInfo } from '../tunnel/frps/types.ts';
import { compareText, groupServices, identifyService } from './services.ts';
import type { Provider } from './services.ts';

/** Whether the Router serves its current configuration, and why not. */
export interface ReadyState {
  isReady: boolean;
  /** One CamelCase word. */
  reason: string;
  message: string;
}

/** What the server reports at one moment. */
export interface ServerView {
  /** The bound port; undefined while no server runs. */
  port: number | undefined;
  sessions: readonly SessionInfo[];
  proxies: readonly ProxyInfo[];
  visitors: readonly VisitorInfo[];
  totals: FrpServerTotals;
}

/** All that a status is made of. */
export interface StatusInput {
  /** The generation of the spec last acted on. */
  generation: number | undefined;
  /** Conditions the object has now: other writers' stay, times of unchanged ones too. */
  conditions: readonly RouterStatusCondition[];
  ready: ReadyState;
  /** Added to the Ready message; things that do not stop the tunnel. */
  notes: readonly string[];
  addresses: readonly RouterStatusAddress[];
  version: string;
  startedAt: Date;
  now: Date;
  view: ServerView;
}

/**
 * Rows of a status. The object must stay well under the 1.5 MiB that Kubernetes stores can hold; a row is about
 * 250 bytes.
 */
export const STATUS_LIMITS = { services: 2000, providers: 2500, clients: 2000 } as const;

/** Builds the status. */
export function buildStatus(input: StatusInput): RouterStatus {
  const { view } = input;
  const cuts: string[] = [];
  const activeServices = serviceRows(view, cuts);
  const clients = clientRows(view, cuts);
  return {
    ...(input.generation === undefined ? {} : { observedGeneration: input.generation }),
    conditions: mergeReady(input, [...input.notes, ...cuts]),
    addresses: [...input.addresses],
    version: input.version,
    startTime: rfc3339(input.startedAt),
    lastHeartbeatTime: rfc3339(input.now),
    activeServices,
    clients,
    traffic: {
      bytesIn: view.totals.bytesIn,
      bytesOut: view.totals.bytesOut,
      connections: view.totals.connections,
    },
  };
}

function mergeReady(input: StatusInput, notes: readonly string[]): RouterStatusCondition[] {
  const status = input.ready.isReady ? 'True' : 'False';
  const previous = input.conditions.find((condition) => condition.type === CONDITION_READY);
  const since = previous?.status === status ? previous.lastTransitionTime : undefined;
  const ready: RouterStatusCondition = {
    type: CONDITION_READY,
    status,
    ...(input.generation === undefined ? {} : { observedGeneration: input.generation }),
    lastTransitionTime: since ?? rfc3339(input.now),
    reason: input.ready.reason,
    message: [input.ready.message, ...notes]
      .filter((text) => text !== '')
      .join('; ')
      .slice(0, 4096),
  };
  return [ready, ...input.conditions.filter((condition) => condition.type !== CONDITION_READY)];
}

function serviceRows(view: ServerView, cuts: string[]): RouterStatusActiveService[] {
  const live = new Set(view.sessions.map((session) => session.runId));
  const groups = groupServices(view.proxies);
  const shown = groups.slice(0, STATUS_LIMITS.services);
  let spare = STATUS_LIMITS.providers - shown.length; // every service shows at least one provider
  let hidden = 0;
  const rows = shown.map((group): RouterStatusActiveService => {
    const count = Math.min(group.providers.length, 1 + Math.max(spare, 0));
    spare -= count - 1;
    hidden += group.providers.length - count;
    const localPort = group.remotePort ?? view.port;
    return {
      name: group.name,
      namespace: group.namespace,
      protocol: group.protocol,
      ...(localPort === undefined ? {} : { localPort }),
      ...(group.targetPort === undefined ? {} : { targetPort: group.targetPort }),
      providers: group.providers.slice(0, count).map((provider) => providerEntry(provider, live)),
    };
  });
  if (groups.length > shown.length)
    cuts.push(`${groups.length - shown.length} of ${groups.length} services not shown`);
  if (hidden > 0) cuts.push(`${hidden} providers not shown`);
  return rows;
}

function providerEntry(
  { identity, proxy }: Provider,
  live: ReadonlySet<string>,
): RouterStatusActiveServiceProvider {
  return {
    id: proxy.name,
    type: proxy.type,
    ...optional('node', identity.node),
    ready: identity.isReady && live.has(proxy.runId),
    ...(identity.isReady ? {} : optional('message', identity.message)),
    connections: proxy.connections,
  };
}

function clientRows(view: ServerView, cuts: string[]): RouterStatusClient[] {
  const sessions = new Map(view.sessions.map((session) => [session.runId, session]));
  const rows = [
    ...view.proxies.map((proxy) => providerRow(proxy, sessions.get(proxy.runId))),
    ...view.visitors.map((visitor) => visitorRow(visitor)),
  ];
  rows.sort(
    (a, b) =>
      compareText(a.role ?? '', b.role ?? '') ||
      compareText(a.id, b.id) ||
      compareText(a.serviceName ?? '', b.serviceName ?? '') ||
      compareText(a.remoteAddr ?? '', b.remoteAddr ?? ''),
  );
  if (rows.length <= STATUS_LIMITS.clients) return rows;
  cuts.push(`${rows.length - STATUS_LIMITS.clients} of ${rows.length} clients not shown`);
  return rows.slice(0, STATUS_LIMITS.clients);
}

function providerRow(proxy: ProxyInfo, session: SessionInfo | undefined): RouterStatusClient {
  const service = identifyService(proxy);
  const pod = session?.metas['pod'] ?? proxy.metas['pod'] ?? service?.instance;
  return {
    id: service === undefined || pod === undefined ? proxy.name : `${pod}-${service.name}`,
    type: proxy.type,
    role: 'provider',
    remoteAddr: proxy.remoteAddr,
    ...optional('localAddr', proxy.metas['localAddr']),
    ...(service === undefined ? {} : { serviceName: `${service.name}.${service.namespace}` }),
    connectedAt: rfc3339(proxy.startedAt),
    connections: proxy.connections,
    bytesIn: proxy.bytesIn,
    bytesOut: proxy.bytesOut,
    ...optional('version', session?.version),
  };
}

function visitorRow(visitor: VisitorInfo): RouterStatusClient {
  const service = targetService(visitor);
  const pod = visitor.loginMetas['pod'];
  const who = pod ?? (visitor.clientId === '' ? visitor.runId : visitor.clientId);
  const what = service?.name ?? visitor.target;
  return {
    id: who === '' ? what : `${who}-${what}`,
    type: visitor.type,
    role: 'visitor',
    remoteAddr: visitor.remoteAddr,
    ...optional('localAddr', visitor.metas['localAddr']),
    ...(service === undefined ? {} : { serviceName: `${service.name}.${service.namespace}` }),
    connectedAt: rfc3339(visitor.connectedAt),
    connections: visitor.connections,
    bytesIn: visitor.bytesIn,
    bytesOut: visitor.bytesOut,
    ...optional('version', visitor.version),
  };
}

/** The service in `[USER.]SERVICE.NAMESPACE[.REST][:PORT][/protocol]`; undefined for other names. */
function targetService(visitor: VisitorInfo): { name: string; namespace: string } | undefined {
  const { target, user } = visitor;
  const own = user !== '' && target.startsWith(`${user}.`) ? target.slice(user.length + 1) : target;
  const [name, namespace] = own
    .replace(/\/(?:tcp|udp)$/iu, '')
    .replace(/:\d+$/u, '')
    .split('.');
  if (name === undefined || name === '' || namespace === undefined || namespace === '') return undefined;
  return { name, namespace };
}

function optional<Key extends string>(key: Key, value: string | undefined): Partial<Record<Key, string>> {
  return value === undefined || value === '' ? {} : ({ [key]: value } as Record<Key, string>);
}

/** How soon a difference between two statuses has to be written. */
export type Urgency = 'now' | 'soon' | 'heartbeat';

/** What of a status is compared, as texts. */
export interface StatusKeys {
  /** What others route by: conditions, addresses, services, providers. */
  routing: string;
  /** Which clients there are. */
  clients: string;
}

/** Counters, which change with every connection. */
const COUNTERS = new Set(['connections', 'bytesIn', 'bytesOut']);

/** The parts of a status that are worth a write of their own; counters and times are in neither. */
export function statusKeys(status: RouterStatus): StatusKeys {
  const { lastHeartbeatTime: _time, clients, traffic: _traffic, ...routing } = status;
  const text = (value: unknown): string =>
    JSON.stringify(value, (key, entry: unknown) => (COUNTERS.has(key) ? undefined : entry)) ?? '';
  return { routing: text(routing), clients: text(clients) };
}

/** Compares what is written with what is true: `now` for routing, `soon` for clients, `heartbeat` for the rest. */
export function urgencyOf(written: StatusKeys | undefined, current: StatusKeys): Urgency {
  if (written === undefined || written.routing !== current.routing) return 'now';
  return written.clients === current.clients ? 'heartbeat' : 'soon';
}
