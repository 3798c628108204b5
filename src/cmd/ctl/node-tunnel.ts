/** The way of `edge ctl` to a node's sshd: the objects that say where the node is. */
import { NODE_MAINTENANCES, ROUTERS } from '../../api/edge.ts';
import type { NodeMaintenance, Router } from '../../api/gen/types.ts';
import type { ApiClient } from '../../apiclient/client.ts';
import type { Clock } from '../../lib/clock.ts';
import { connectNode } from '../../ssh/node-connection.ts';
import type { NodeConnection, TunnelCredentials } from '../../ssh/node-connection.ts';
import { findNode } from '../../ssh/node-target.ts';

export { readCredentials, tunnelOptions } from '../tunnel-options.ts';

/** Finds a node in the API server and connects to its sshd. */
export async function dialNode(
  name: string,
  credentials: TunnelCredentials,
  deps: { api: ApiClient; clock: Clock; random: () => number },
): Promise<NodeConnection> {
  const { api } = deps;
  const [objects, routers] = await Promise.all([
    api.list<NodeMaintenance>(NODE_MAINTENANCES),
    api.list<Router>(ROUTERS),
  ]);
  return connectNode(findNode(objects.items, name), routers.items, credentials, deps);
}
