/** Who may do what: one table of rules a role, read by the authorizer and by `kubectl auth can-i`. */
import { GROUP, ORIGIN_ANNOTATION } from '../../api/edge.ts';
import type { KubeObject } from '../../api/meta.ts';

/** The roles, one a kind of client. */
export const ROLES = ['admin', 'router', 'syncer', 'sidecar', 'cloud'] as const;
/** A role. */
export type Role = (typeof ROLES)[number];

/** Who sent a request. */
export interface Identity {
  username: string;
  uid?: string;
  groups: readonly string[];
  roles: readonly Role[];
}

/** What a request wants to do, in the words of the authorization API. */
export interface Attributes {
  verb: string;
  group: string;
  /** The plural, with the subresource after a slash: `routers/status`. */
  resource: string;
  name?: string | undefined;
}

/** A permission. */
export interface Rule {
  verbs: readonly string[];
  groups: readonly string[];
  resources: readonly string[];
  /** Only these objects; all when absent. */
  names?: readonly string[];
  /** Only mirrors: objects with an origin, whose name is not this node's. */
  onlyMirrors?: boolean;
}

const READ: Rule = { verbs: ['get', 'list', 'watch'], groups: [GROUP], resources: ['*'] };
const READ_CRDS: Rule = {
  verbs: ['get', 'list', 'watch'],
  groups: ['apiextensions.k8s.io'],
  resources: ['customresourcedefinitions'],
};
const CHANGE = ['create', 'update', 'patch', 'delete'] as const;

/** The rules of a role on the API server of `node`. */
export function rulesOf(role: Role, node: string): readonly Rule[] {
  return [...RULES[role](node), ...(role === 'admin' ? [] : [READ, READ_CRDS])];
}

/** What each role may do beyond reading. */
const RULES = {
  admin: () => [{ verbs: ['*'], groups: ['*'], resources: ['*'] }],
  router: (node) => [
    { verbs: ['update', 'patch'], groups: [GROUP], resources: ['routers/status'], names: [node] },
    {
      verbs: [...CHANGE, 'deletecollection'],
      groups: [GROUP],
      resources: ['nodemaintenances', 'nodemaintenances/status'],
    },
  ],
  syncer: () => [
    { verbs: CHANGE, groups: [GROUP], resources: ['routers', 'routers/status'], onlyMirrors: true },
  ],
  sidecar: () => [],
  cloud: () => [
    {
      verbs: [...CHANGE, 'deletecollection'],
      groups: [GROUP],
      resources: ['routers', 'nodemaintenances'],
    },
  ],
} satisfies Record<Role, (node: string) => readonly Rule[]>;

/** Groups that give a role; certificates made here carry the prefixed form. */
export function rolesOfGroups(groups: readonly string[]): Role[] {
  return ROLES.filter(
    (role) =>
      groups.includes(role) ||
      groups.includes(`edge:${role}`) ||
      (role === 'admin' && groups.includes('system:masters')),
  );
}

/** The answer to an authorization question. */
export interface Decision {
  allowed: boolean;
  /** Whether the objects themselves must be mirrors. */
  onlyMirrors: boolean;
}

function covers(list: readonly string[], value: string): boolean {
  return list.includes('*') || list.includes(value);
}

/** Whether an identity may do something on the API server of `node`. */
export function authorize(identity: Identity, attributes: Attributes, node: string): Decision {
  const matching = identity.roles
    .flatMap((role) => rulesOf(role, node))
    .filter(
      (rule) =>
        covers(rule.verbs, attributes.verb) &&
        covers(rule.groups, attributes.group) &&
        covers(rule.resources, attributes.resource) &&
        (rule.names === undefined || (attributes.name !== undefined && rule.names.includes(attributes.name))),
    );
  return { allowed: matching.length > 0, onlyMirrors: matching.every((rule) => rule.onlyMirrors === true) };
}

/** Whether an object is a mirror that a syncer of `node` may touch. */
export function isMirror(object: KubeObject, node: string): boolean {
  return (object.metadata.annotations?.[ORIGIN_ANNOTATION] ?? '') !== '' && object.metadata.name !== node;
}
