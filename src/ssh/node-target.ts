/** Where a node's sshd is, as its NodeMaintenance object says. Pure. */
import { MAINTENANCE_NAMESPACE, ROUTER_ANNOTATION, SSH_HOST_KEYS_ANNOTATION } from '../api/edge.ts';
import type { NodeMaintenance, NodeMaintenanceSpecService } from '../api/gen/types.ts';
import { EdgeError, UsageError } from '../lib/errors.ts';

/** A node's sshd and the way to it. */
export interface NodeTarget {
  /** The node's name (`spec.nodeName`), under which people, audit logs and known_hosts files know it. */
  node: string;
  /** What to ask the tunnel server for: `SERVICE.NAMESPACE`; undefined where the port is the sshd itself. */
  service: string | undefined;
  /** The Router that answers for the node; empty where another program does. */
  router: string;
  host: string;
  port: number;
  /** The public host keys that the node told when it registered, `TYPE BASE64` each; empty when it told none. */
  hostKeys: readonly string[];
}

/** The sshd of a node, by the node's name, its id or the object's name; throws when there is none, or no way. */
export function findNode(objects: readonly NodeMaintenance[], name: string): NodeTarget {
  const found = objects.filter(
    (object) =>
      object.spec.nodeName === name || object.metadata.name === name || sshOf(object)?.uniqueID === name,
  );
  const object = found.find(isOnline) ?? found[0];
  if (object === undefined)
    throw new UsageError(`node "${name}" is not known`, { hint: '"edge ctl nodes" lists those that are' });
  return targetOf(object);
}

/** The sshd of a NodeMaintenance object; throws when the node is offline or there is no way to it. */
export function targetOf(object: NodeMaintenance): NodeTarget {
  const node = object.spec.nodeName ?? object.metadata.name ?? '';
  const service = sshOf(object);
  const port = Number(service?.proxyPort ?? '');
  const host = service?.frpServerIpAddress ?? '';
  if (service === undefined || host === '' || !(port >= 1 && port <= 65_535))
    throw new EdgeError('EDGE_ERR_SSH_NODE_ADDRESS', `node "${node}" has no Router that leads to it`);
  if (!isOnline(object))
    throw new EdgeError('EDGE_ERR_SSH_NODE_OFFLINE', `node "${node}" is offline`, {
      hint: 'is "edge sidecar --maintenance" running there, and its way to the Router free?',
      retryable: true,
    });
  const told = object.metadata.annotations?.[SSH_HOST_KEYS_ANNOTATION] ?? '';
  return {
    node,
    service: serviceOf(object, service.name),
    router: object.metadata.annotations?.[ROUTER_ANNOTATION] ?? '',
    host,
    port,
    hostKeys: told.split('\n').filter((line) => line !== ''),
  };
}

/**
 * Routers know services. A frps that is not ours has proxies: an `stcp` one is asked for by its name, which the object
 * has as the endpoint; a `tcp` one is a port of the server that leads to the sshd.
 */
function serviceOf({ metadata, spec }: NodeMaintenance, name: string): string | undefined {
  if ((metadata.annotations?.[ROUTER_ANNOTATION] ?? '') !== '') return `${name}.${MAINTENANCE_NAMESPACE}`;
  const endpoint = spec.proxy?.endpoint ?? '';
  return endpoint === '' ? undefined : endpoint;
}

/** Whether the Router that answers for the node says that it is connected. */
export function isOnline(object: NodeMaintenance): boolean {
  const name = sshOf(object)?.name;
  return object.status?.services?.find((service) => service.name === name)?.status === 'online';
}

function sshOf({ spec }: NodeMaintenance): NodeMaintenanceSpecService | undefined {
  return spec.services?.find(({ type }) => type === 'ssh') ?? spec.services?.[0];
}
