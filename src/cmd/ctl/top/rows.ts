/** The rows of `edge ctl top`: Routers, services and clients with their traffic; their order, and their tables. Pure. */
import type { RouterStatusClient } from '../../../api/gen/types.ts';
import { formatAge } from '../../../api/age.ts';
import type { RouterView, Trust } from './reports.ts';

/** What every row has. Rates are a second, null while they are not known. */
export interface Row {
  name: string;
  router: string;
  /** The node that a mirror comes from; null for Routers of this API server. */
  origin: string | null;
  state: Trust;
  /** Towards the providers. */
  bytesInPerSecond: number | null;
  /** Away from the providers. */
  bytesOutPerSecond: number | null;
  /** Connections open at the time of the report. */
  open: number;
  bytesIn: number;
  bytesOut: number;
  /** The time that the rates are taken over. */
  overSeconds: number | null;
  /** How old the report is; null before the first one. */
  ageSeconds: number | null;
}

/** A whole Router. */
export interface RouterRow extends Row {
  /** Why it is not Ready. */
  reason: string;
  connectionsPerSecond: number | null;
  /** Carried since the Router started. */
  connections: number;
  services: number;
  clients: number;
}

/** One service at one Router. */
export interface ServiceRow extends Row {
  protocol: string;
  readyProviders: number;
  providers: number;
  consumers: number;
}

/** One proxy or visitor of a client. */
export interface ClientRow extends Row {
  role: string;
  service: string;
  remoteAddr: string;
  connectedAt: string | null;
}

function common(
  view: RouterView,
  name: string,
): Pick<Row, 'name' | 'router' | 'origin' | 'state' | 'overSeconds' | 'ageSeconds'> {
  return {
    name,
    router: view.router.metadata.name ?? '',
    origin: view.origin ?? null,
    state: view.trust,
    overSeconds: view.overSeconds ?? null,
    ageSeconds: view.ageMs === undefined ? null : Math.round(view.ageMs / 1000),
  };
}

/** A row a Router. */
export function routerRows(views: readonly RouterView[]): RouterRow[] {
  return views.map((view) => {
    const { status } = view.router;
    const { bytesIn = 0, bytesOut = 0, connections = 0 } = status?.traffic ?? {};
    const clients = status?.clients ?? [];
    return {
      ...common(view, view.router.metadata.name ?? ''),
      reason: view.why,
      bytesInPerSecond: view.rate((totals) => totals.bytesIn) ?? null,
      bytesOutPerSecond: view.rate((totals) => totals.bytesOut) ?? null,
      connectionsPerSecond: view.rate((totals) => totals.connections) ?? null,
      open: sum(clients.filter(isProvider), ({ connections: open }) => open ?? 0),
      bytesIn,
      bytesOut,
      connections,
      services: status?.activeServices?.length ?? 0,
      clients: clients.length,
    };
  });
}

/** A row a service of each Router; its traffic is that of its providers there. */
export function serviceRows(views: readonly RouterView[]): ServiceRow[] {
  return views.flatMap((view) => {
    const { activeServices = [], clients = [] } = view.router.status ?? {};
    const keys = new Set(
      activeServices.map(({ name, namespace, protocol }) => `${name}.${namespace}/${protocol}`),
    );
    return [...keys].map((key) => {
      const at = key.lastIndexOf('/');
      const [name, protocol] = [key.slice(0, at), key.slice(at + 1)];
      const own = clients.filter((client) => client.serviceName === name && protocolOf(client) === protocol);
      const providers = own.filter(isProvider);
      const rates = providers.map((client) => view.clientRates(client));
      const known = rates.flatMap((each) => (each === undefined ? [] : [each]));
      const areKnown = known.length === rates.length && view.overSeconds !== undefined;
      const listed = activeServices
        .filter((each) => `${each.name}.${each.namespace}/${each.protocol}` === key)
        .flatMap((each) => each.providers ?? []);
      return {
        ...common(view, name),
        protocol,
        readyProviders: listed.filter(({ ready }) => ready !== false).length,
        providers: listed.length,
        consumers: own.length - providers.length,
        bytesInPerSecond: areKnown ? sum(known, (rate) => rate.bytesIn) : null,
        bytesOutPerSecond: areKnown ? sum(known, (rate) => rate.bytesOut) : null,
        open: sum(providers, ({ connections }) => connections ?? 0),
        bytesIn: sum(providers, ({ bytesIn }) => bytesIn ?? 0),
        bytesOut: sum(providers, ({ bytesOut }) => bytesOut ?? 0),
      };
    });
  });
}

/** A row a proxy and a visitor of each client. */
export function clientRows(views: readonly RouterView[]): ClientRow[] {
  return views.flatMap((view) =>
    (view.router.status?.clients ?? []).map((client) => {
      const rates = view.clientRates(client);
      return {
        ...common(view, client.id),
        role: client.role ?? '',
        service: client.serviceName ?? '',
        remoteAddr: client.remoteAddr ?? '',
        connectedAt: client.connectedAt ?? null,
        bytesInPerSecond: rates?.bytesIn ?? null,
        bytesOutPerSecond: rates?.bytesOut ?? null,
        open: client.connections ?? 0,
        bytesIn: client.bytesIn ?? 0,
        bytesOut: client.bytesOut ?? 0,
      };
    }),
  );
}

function isProvider({ role }: RouterStatusClient): boolean {
  return role !== 'visitor';
}

function protocolOf({ type }: RouterStatusClient): string {
  return type === 'udp' || type === 'sudp' ? 'UDP' : 'TCP';
}

function sum<T>(items: readonly T[], pick: (item: T) => number): number {
  return items.reduce((total, item) => total + pick(item), 0);
}

/** What rows are sorted by, most first; `name` and `router` by the alphabet. */
const KEYS: Readonly<Record<string, (row: Row) => number | string | null>> = {
  rate: ({ bytesInPerSecond: a, bytesOutPerSecond: b }) => (a === null || b === null ? null : a + b),
  in: (row) => row.bytesInPerSecond,
  out: (row) => row.bytesOutPerSecond,
  connections: (row) => (row as Partial<RouterRow>).connectionsPerSecond ?? null,
  open: (row) => row.open,
  total: (row) => row.bytesIn + row.bytesOut,
  age: (row) => row.ageSeconds,
  name: (row) => row.name,
  router: (row) => row.router,
};

/** The words of --sort-by. */
export const SORT_KEYS: readonly string[] = Object.keys(KEYS);

/** Sorts by a key, what is not known last, and what is equal by total traffic and name. */
export function sortRows<T extends Row>(rows: readonly T[], key: string): T[] {
  const by = (name: string) => (a: T, b: T) => compare(KEYS[name]?.(a) ?? null, KEYS[name]?.(b) ?? null);
  const orders = [by(key), by('total'), by('name'), by('router')];
  return rows.toSorted((a, b) => orders.reduce((found, order) => found || order(a, b), 0));
}

function compare(a: number | string | null, b: number | string | null): number {
  if (a === b) return 0;
  if (a === null || b === null) return a === null ? 1 : -1;
  if (typeof a === 'string' || typeof b === 'string') return String(a) < String(b) ? -1 : 1;
  return b - a;
}

const UNITS = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi'];

/** A number of bytes in at most four digits and a binary unit, `1.2Mi`; `-` for one that is not known. */
export function formatQuantity(value: number | null): string {
  if (value === null) return '-';
  let left = value;
  let unit = 0;
  for (; Math.round(left) >= 1024 && unit < UNITS.length - 1; unit++) left /= 1024;
  return `${left >= 10 || unit === 0 ? Math.round(left) : left.toFixed(1)}${UNITS[unit] ?? ''}`;
}

/** A rate of connections: one digit behind the point while that says anything. */
function formatRate(value: number | null): string {
  return value === null ? '-' : value < 10 ? value.toFixed(1) : String(Math.round(value));
}

/** A column of a table. Where the table is too wide, those with the highest rank go first. */
export interface Column<T> {
  header: string;
  cell: (row: T) => string;
  /** 0 is never left out. */
  rank: number;
  /** Left out when all of its cells are empty. */
  isOptional?: boolean;
}

const text = (value: string | null): string => (value === null || value === '' ? '<none>' : value);

function trafficColumns<T extends Row>(): Column<T>[] {
  return [
    { header: 'IN/S', rank: 0, cell: (row) => formatQuantity(row.bytesInPerSecond) },
    { header: 'OUT/S', rank: 0, cell: (row) => formatQuantity(row.bytesOutPerSecond) },
    { header: 'OPEN', rank: 1, cell: (row) => String(row.open) },
    { header: 'IN', rank: 4, cell: (row) => formatQuantity(row.bytesIn) },
    { header: 'OUT', rank: 4, cell: (row) => formatQuantity(row.bytesOut) },
  ];
}

function reportColumns<T extends Row>(): Column<T>[] {
  return [
    { header: 'STATE', rank: 1, cell: ({ state }) => state },
    {
      header: 'OVER',
      rank: 5,
      cell: ({ overSeconds }) => (overSeconds === null ? '-' : formatAge(overSeconds * 1000)),
    },
    {
      header: 'AGE',
      rank: 2,
      cell: ({ ageSeconds }) => (ageSeconds === null ? '-' : formatAge(ageSeconds * 1000)),
    },
  ];
}

const ORIGIN: Column<Row> = { header: 'ORIGIN', rank: 3, cell: ({ origin }) => text(origin) };

/** The columns of Routers. */
export const ROUTER_COLUMNS: readonly Column<RouterRow>[] = [
  { header: 'ROUTER', rank: 0, cell: ({ name }) => name },
  ...trafficColumns<RouterRow>().slice(0, 2),
  { header: 'CONN/S', rank: 1, cell: (row) => formatRate(row.connectionsPerSecond) },
  ...trafficColumns<RouterRow>().slice(2),
  { header: 'CONNS', rank: 4, cell: (row) => String(row.connections) },
  { header: 'SERVICES', rank: 6, cell: (row) => String(row.services) },
  { header: 'CLIENTS', rank: 6, cell: (row) => String(row.clients) },
  ORIGIN,
  ...reportColumns<RouterRow>(),
  { header: 'WHY', rank: 3, isOptional: true, cell: ({ reason }) => reason },
];

/** The columns of services. */
export const SERVICE_COLUMNS: readonly Column<ServiceRow>[] = [
  {
    header: 'SERVICE',
    rank: 0,
    cell: ({ name, protocol }) => (protocol === 'TCP' ? name : `${name}/${protocol}`),
  },
  { header: 'ROUTER', rank: 2, cell: ({ router }) => router },
  { header: 'READY', rank: 1, cell: (row) => `${row.readyProviders}/${row.providers}` },
  ...trafficColumns<ServiceRow>(),
  { header: 'CONSUMERS', rank: 6, cell: (row) => String(row.consumers) },
  ORIGIN,
  ...reportColumns<ServiceRow>(),
];

/** The columns of clients. */
export const CLIENT_COLUMNS: readonly Column<ClientRow>[] = [
  { header: 'CLIENT', rank: 0, cell: ({ name }) => name },
  { header: 'ROLE', rank: 3, cell: ({ role }) => text(role) },
  { header: 'SERVICE', rank: 1, cell: ({ service }) => text(service) },
  { header: 'ROUTER', rank: 2, cell: ({ router }) => router },
  ...trafficColumns<ClientRow>(),
  { header: 'FROM', rank: 6, cell: ({ remoteAddr }) => text(remoteAddr) },
  ORIGIN,
  ...reportColumns<ClientRow>(),
];
