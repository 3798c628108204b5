/** NodeMaintenance objects in the words of the Frp Adapter: parameters in, objects and answers out. Pure. */
import { API_VERSION, NODE_MAINTENANCES, SSH_HOST_KEYS_ANNOTATION } from '../../api/edge.ts';
import type { NodeMaintenance } from '../../api/gen/types.ts';
import { isUniqueId, maintenanceName, sshServiceName } from '../../api/maintenance.ts';
import { badRequest } from '../../api/status.ts';
import { rfc3339 } from '../../lib/clock.ts';

/** Whether a service can be reached. */
export type State = 'online' | 'offline';

/** Why a service is in its state, for the condition. */
export interface Cause {
  reason: string;
  message: string;
}

const TOLD: Readonly<Record<State, Cause>> = {
  online: { reason: 'ReportedOnline', message: 'the adapter was told that the node is online' },
  offline: { reason: 'ReportedOffline', message: 'the adapter was told that the node is offline' },
};

/** What a caller says about a node. */
export interface NodeReport {
  uniqueId: string;
  address: string;
  port: string;
  /** Absent at a create: nobody has seen the node yet. */
  status: State | undefined;
  /** The node's name, and its host keys as lines of `TYPE BASE64`, when they are known; undefined leaves them. */
  nodeName?: string | undefined;
  hostKeys?: string | undefined;
  /** The name of the tunnel's proxy, where a visitor must ask for it; undefined where the port is the sshd itself. */
  endpoint?: string | undefined;
}

/** The data of an answer about one node. */
export interface NodeAnswer {
  frp_server_ip_address: string;
  proxy_port: string;
  status: State;
}

const ADDRESS = /^[-.:a-z0-9]{1,253}$/iu;

/** Reads the parameters of a create or, with `hasStatus`, of an update; throws a 400 Status that names the wrong one. */
export function readReport(fields: Readonly<Record<string, unknown>>, hasStatus: boolean): NodeReport {
  const text = (key: string): string => {
    const value = fields[key];
    return typeof value === 'string' || typeof value === 'number' ? String(value).trim() : '';
  };
  const uniqueId = text('unique_id');
  if (!isUniqueId(uniqueId))
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
  const { uniqueId, address, port, nodeName, hostKeys, endpoint } = report;
  const name = sshServiceName(uniqueId);
  const entry = { name, type: 'ssh', proxyPort: port, frpServerIpAddress: address, uniqueID: uniqueId };
  const services = current?.spec.services ?? [];
  const isListed = services.some((service) => service.name === name);
  const metadata = current?.metadata ?? { name: maintenanceName(uniqueId) };
  const annotations = { ...metadata.annotations, [SSH_HOST_KEYS_ANNOTATION]: hostKeys ?? '' };
  return {
    ...(current ?? { apiVersion: API_VERSION, kind: NODE_MAINTENANCES.kind as 'NodeMaintenance' }),
    metadata: hostKeys === undefined ? metadata : { ...metadata, annotations },
    spec: {
      ...current?.spec,
      nodeName: nodeName ?? current?.spec.nodeName ?? `node-${uniqueId}`,
      proxy:
        endpoint === undefined
          ? (current?.spec.proxy ?? { type: 'FRP', endpoint: '' })
          : { type: 'FRP', endpoint },
      services: isListed
        ? services.map((service) => (service.name === name ? entry : service))
        : [entry, ...services],
    },
  };
}

/** The object with services in a state: all of them, or the named one; the object itself when they are in it already. */
export function withState(
  object: NodeMaintenance,
  state: State,
  now: Date,
  { only, cause = TOLD[state] }: { only?: string; cause?: Cause } = {},
): NodeMaintenance {
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
          ...cause,
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
