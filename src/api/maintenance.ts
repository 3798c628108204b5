/** Nodes that can be maintained: names, and what a node's tunnel client says about it in the metadata of its proxy. Pure. */

/** A node's sshd, as its sidecar registered it. */
export interface Registration {
  uniqueId: string;
  nodeName: string;
  /** Lines of `TYPE BASE64`; empty when the node told none. */
  hostKeys: string;
}

/** An id makes a label of 63 characters with `ssh-` in front, and an object name. */
const UNIQUE_ID = /^[a-z0-9](?:[-a-z0-9]{0,57}[a-z0-9])?$/u;
const NODE_NAME = /^[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?$/u;
/** As many as a sidecar tells at most. */
const HOST_KEYS = /^(?:(?:ssh|ecdsa|sk)-[-a-z0-9@.]{1,60} [A-Za-z0-9+/]+={0,2}(?:\n|$))*$/u;
const MAX_HOST_KEYS_LENGTH = 6000;
const OBJECT_PREFIX = 'nodemaintenances-';

/** Whether a text can be a node's id. */
export function isUniqueId(text: string): boolean {
  return UNIQUE_ID.test(text);
}

/** The name of a node's object. */
export function maintenanceName(uniqueId: string): string {
  return `${OBJECT_PREFIX}${uniqueId}`;
}

/** The id in the name of a node's object. */
export function uniqueIdOf(objectName: string): string {
  return objectName.slice(OBJECT_PREFIX.length);
}

/** The name of the service that is a node's sshd. */
export function sshServiceName(uniqueId: string): string {
  return `ssh-${uniqueId}`;
}

/** Reads the metadata of a proxy; undefined when it is no node's sshd. Wrong names and keys are replaced or left out. */
export function readRegistration(metas: Readonly<Record<string, string>>): Registration | undefined {
  if (metas['type'] !== 'ssh') return undefined;
  const { uniqueId = '', node = '', hostKeys = '' } = metas;
  if (!isUniqueId(uniqueId) || metas['service'] !== sshServiceName(uniqueId)) return undefined;
  const isSound = hostKeys.length <= MAX_HOST_KEYS_LENGTH && HOST_KEYS.test(hostKeys);
  return {
    uniqueId,
    nodeName: NODE_NAME.test(node) ? node : `node-${uniqueId}`,
    hostKeys: isSound ? hostKeys : '',
  };
}
