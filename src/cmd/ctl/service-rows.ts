/** The services of all Routers as `edge ctl services` shows them, with what the sidecar of this host makes of them. Pure. */
import type { Router } from '../../api/gen/types.ts';
import { selectRouters } from '../../sidecar/routers.ts';
import type { SidecarStatus } from '../../sidecar/status.ts';

/** One port of one service. */
export interface ServiceRow {
  namespace: string;
  name: string;
  protocol: string;
  /** What consumers connect to; null while nobody says. */
  port: number | null;
  /** Each instance once, however many Routers it is published on. */
  providers: { id: string; node: string; ready: boolean; message: string; routers: string[] }[];
  routers: string[];
  /** Where this host's sidecar has it; null when it does not map it. */
  address: string | null;
  /** As the sidecar says it; `ready` or `noProvider` without one. */
  state: string;
  /** Open ones of this host. */
  connections: number | null;
}

/** The rows, by namespace, name, protocol and port; `only` is a name, or `NAME.NAMESPACE`. */
export function serviceRows(
  routers: readonly Router[],
  sidecar: Pick<SidecarStatus, 'node' | 'services'> | undefined,
  only: string | undefined,
): ServiceRow[] {
  const rows = new Map<string, ServiceRow>();
  const rowOf = (key: string, protocol: string, port: number | null): ServiceRow => {
    const at = key.indexOf('.');
    const id = `${key}:${port}/${protocol}`;
    const row: ServiceRow = rows.get(id) ?? {
      namespace: key.slice(at + 1),
      name: key.slice(0, at),
      protocol,
      port,
      providers: [],
      routers: [],
      address: null,
      state: 'noProvider',
      connections: null,
    };
    rows.set(id, row);
    return row;
  };
  for (const view of selectRouters(routers, { node: sidecar?.node ?? '', only: [] })) {
    for (const [key, { ports, udpPorts, providers }] of view.services) {
      for (const port of ports) rowOf(key, 'TCP', port);
      for (const port of udpPorts) rowOf(key, 'UDP', port);
      for (const { id, node, isReady: ready, message, port, protocol } of providers) {
        const row = rowOf(key, protocol, port ?? null);
        if (!row.routers.includes(view.name)) row.routers.push(view.name);
        const known = row.providers.find((provider) => provider.id === id);
        if (known === undefined) row.providers.push({ id, node, ready, message, routers: [view.name] });
        else {
          known.routers.push(view.name);
          known.ready ||= ready;
        }
        if (ready) row.state = 'ready';
      }
    }
  }
  for (const { name, namespace, address, state, ports, connections } of sidecar?.services ?? []) {
    const key = `${name}.${namespace}`;
    const own = [...rows.values()].filter((row) => row.name === name && row.namespace === namespace);
    const missing = ports
      .filter(({ port, protocol }) => !own.some((row) => row.port === port && row.protocol === protocol))
      .map(({ port, protocol }) => rowOf(key, protocol, port));
    const all = [...own, ...(own.length === 0 && missing.length === 0 ? [rowOf(key, 'TCP', null)] : missing)];
    for (const row of all) Object.assign(row, { address, state, connections });
  }
  return [...rows.values()]
    .filter((row) => only === undefined || only === row.name || only === `${row.name}.${row.namespace}`)
    .sort(
      (a, b) =>
        compare(a.namespace, b.namespace) ||
        compare(a.name, b.name) ||
        compare(a.protocol, b.protocol) ||
        (a.port ?? 0) - (b.port ?? 0),
    );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The cells of a table, header first. */
export function serviceTable(rows: readonly ServiceRow[], isWide: boolean): string[][] {
  const wide = (cells: string[]): string[] => (isWide ? cells : []);
  return [
    [
      'NAMESPACE',
      'NAME',
      'PORT',
      'READY',
      'STATE',
      'ADDRESS',
      'ROUTERS',
      ...wide(['CONNECTIONS', 'PROVIDERS']),
    ],
    ...rows.map((row) => [
      row.namespace,
      row.name,
      row.port === null ? '<unknown>' : `${row.port}/${row.protocol}`,
      `${row.providers.filter(({ ready }) => ready).length}/${row.providers.length}`,
      row.state,
      row.address ?? '<none>',
      row.routers.join(',') || '<none>',
      ...wide([
        row.connections === null ? '<none>' : String(row.connections),
        row.providers
          .map(({ id, ready, message }) => (ready ? id : `${id} (${message === '' ? 'not ready' : message})`))
          .join(', ') || '<none>',
      ]),
    ]),
  ];
}
