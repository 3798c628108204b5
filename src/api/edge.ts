/** The names that edge's objects use: group, resources, annotations, condition types. */
import type { ResourceRef } from './meta.ts';

/** The API group of every kind here. */
export const GROUP = 'edge.example.com';
/** The served version of the group. */
export const VERSION = 'v1';
/** apiVersion of every object here. */
export const API_VERSION = `${GROUP}/${VERSION}` as const;

/** The Router resource. */
export const ROUTERS: ResourceRef = { group: GROUP, version: VERSION, plural: 'routers', kind: 'Router' };
/** The NodeMaintenance resource. */
export const NODE_MAINTENANCES: ResourceRef = {
  group: GROUP,
  version: VERSION,
  plural: 'nodemaintenances',
  kind: 'NodeMaintenance',
};

/** On a mirror: the node whose apiserver owns the object. */
export const ORIGIN_ANNOTATION = `${GROUP}/origin`;
/** On a mirror: when the syncer last copied it (RFC 3339). */
export const SYNCED_AT_ANNOTATION = `${GROUP}/synced-at`;

/** The namespace of the services that lead to nodes' sshds. */
export const MAINTENANCE_NAMESPACE = 'maintenance';
/** On a Router at a hub: which installation publishes its status, so that two nodes of one name are noticed. */
export const PUBLISHER_ANNOTATION = `${GROUP}/publisher`;

/** On a NodeMaintenance: the Router that answers for its state. */
export const ROUTER_ANNOTATION = `${GROUP}/router`;
/** On a NodeMaintenance: the public host keys of the node's sshd, lines of `TYPE BASE64`. */
export const SSH_HOST_KEYS_ANNOTATION = `${GROUP}/ssh-host-keys`;

/** Condition type: the Router serves its current configuration. */
export const CONDITION_READY = 'Ready';
/** Condition type, on mirrors only: the peer confirms the object right now. */
export const CONDITION_SYNCED = 'Synced';
