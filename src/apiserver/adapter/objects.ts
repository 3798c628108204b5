/** NodeMaintenance objects in the words of the Frp Adapter: parameters in, objects and answers out. Pure. */
import { API_VERSION, NODE_MAINTENANCES } from '../../api/edge.ts';
import type { NodeMaintenance } from '../../api/gen/types.ts';
import { badRequest } from '../../api/status.ts';
import { rfc3339 } from '../../lib/clock.ts';

/** Whether a service can be reached. */
export type State = 'online' | 'offline';

/** What a caller says about a node. */
export interface NodeReport {
  uniqueId: string;
  address: string;
  port: string;
  /** Absent at a create: nobody has seen the node yet. */
  status: State | undefined;
}

/** The data of an answer about one node. */
export interface NodeAnswer {
  frp_server_ip_address: string;
  proxy_port: string;
  status: State;
}

/** A label of 63 characters holds `ssh-` and this. */
const UNIQUE_ID = /^[a-z0-9](?:[-a-z0-9]{0,57}[a-z0-9])?$/u;
const ADDRESS = /^[-.:a-z0-9]{1,253}$/iu;

/** The name of a node's object. */
export function objectName(uniqueId: string): string {
  return `nodemaintenances-${uniqueId}`;
}

/** Reads the parameters of a create or, with `hasStatus`, of an update; throws a 400 Status that names the wrong one. */
export function readReport(fields: Readonly<Record<string, unknown>>, hasStatus: boolean): NodeReport {
  const text = (key: string): string => {
    const value = fields[key];
    return typeof value === 'string' || typeof value === 'number' ? String(value).trim() : '';
  };
  const uniqueId = text('unique_id');
  if (!UNIQUE_ID.test(uniqueId))
    throw badRequest('unique_id: wanted up to 59 lower-case letters, digits and "-"');
  const address = text('frp_server_ip_address');
  if (!ADDRESS.test(address)) throw badRequest('frp_server_ip_address: wanted an address or a host name');
  const port = text('port');
  if (!/^\d{1,5}$/u.test(port) || Number(port) < 1 || Number(port) > 65_535)
    throw badRequest('port: wanted a number from 1 to 65535');
  const status = text('status');
  if (hasStatus && status !== 'online' && status !== 'offline')
    throw badRequest('status: wanted online or offline');
  return { uniqueId, address, port: String(Number(port)), status: hasStatus ? (status as State) : undefined };
}

/** The main part of the object of a report; what it does not speak about stays as it is. */
export function withReport(current: NodeMaintenance | undefined, report: NodeReport): NodeMaintenance {
  const { uniqueId, address, port } = report;
  const name = `ssh-${uniqueId}`;
  const entry = { name, type: 'ssh', proxyPort: port, frpServerIpAddress: address, uniqueID: uniqueId };
  const services = current?.spec.services ?? [];
  const isListed = services.some((service) => service.name === name);
  return {
    ...(current ?? {
      apiVersion: API_VERSION,
      kind: NODE_MAINTENANCES.kind as 'NodeMaintenance',
      metadata: { name: objectName(uniqueId) },
    }),
    spec: {
      nodeName: `node-${uniqueId}`,
      proxy: { type: 'FRP', endpoint: '' },
      ...current?.spec,
      services: isListed
        ? services.map((service) => (service.name === name ? entry : service))
        : [entry, ...services],
    },
  };
}

/** The object with services in a state: all of them, or the named one; the object itself when they are in it already. */
export function withState(object: NodeMaintenance, state: State, now: Date, only?: string): NodeMaintenance {
  const known = object.status?.services ?? [];
  const all = [...(object.spec.services ?? []), ...known].map(({ name }) => name);
  const names = only === undefined ? [...new Set(all)] : [only];
  const stateOf = (name: string): State | undefined => known.find((entry) => entry.name === name)?.status;
  const changed = names.filter((name) => stateOf(name) !== state);
  if (changed.length === 0) return object;
  const timeStamp = rfc3339(now);
  const isOnline = state === 'online';
  return {
    ...object,
    status: {
      conditions: [
        {
          name: isOnline ? 'maintainable' : 'unmaintainable',
          type: 'Maintainable',
          status: isOnline,
          timeStamp,
          reason: isOnline ? 'ReportedOnline' : 'ReportedOffline',
          message: `the adapter was told that the node is ${state}`,
        },
      ],
      services: [
        ...changed.map((name) => ({ name, status: state, lastUpdate: timeStamp })),
        ...known.filter(({ name }) => !changed.includes(name)),
      ],
    },
  };
}

/** What callers are told about a node: its first service. */
export function answerOf(object: NodeMaintenance): NodeAnswer {
  const service = object.spec.services?.[0];
  const state = object.status?.services?.find(({ name }) => name === service?.name)?.status;
  return {
    frp_server_ip_address: service?.frpServerIpAddress ?? '',
    proxy_port: service?.proxyPort ?? '',
    status: state ?? 'offline',
  };
}
