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
  /** The administrator that acts as this one. */
  impersonatedBy?: string;
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
  /** Only some objects, which show when they are read or written. */
  only?: Restriction;
}

/**
 * `mirrors`: objects with an origin, whose name is not this node's. `published`: what another node publishes here about
 * itself: the Router of its name, and NodeMaintenances whose origin it is.
 */
export type Restriction = 'mirrors' | 'published';

const READ: Rule = { verbs: ['get', 'list', 'watch'], groups: [GROUP], resources: ['*'] };
const READ_CRDS: Rule = {
  verbs: ['get', 'list', 'watch'],
  groups: ['apiextensions.k8s.io'],
  resources: ['customresourcedefinitions'],
};
const READ_CORE: Rule = {
  verbs: ['get', 'list', 'watch'],
  groups: [''],
  resources: ['events', 'namespaces', 'services'],
};
/** Questions about oneself, which anybody may ask. */
const ASK_ABOUT_SELF: readonly Rule[] = [
  {
    verbs: ['create'],
    groups: ['authorization.k8s.io'],
    resources: ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'],
  },
  { verbs: ['create'], groups: ['authentication.k8s.io'], resources: ['selfsubjectreviews'] },
];
const CHANGE = ['create', 'update', 'patch', 'delete'] as const;

/** The node a client belongs to, by the name in its certificate; the server's own for names that tell none. */
export function memberOf(username: string, node: string): string {
  const [, role, member] = /^edge:([a-z]+):(.+)$/u.exec(username) ?? [];
  return member !== undefined && ROLES.some((known) => known === role) ? member : node;
}

/** The rules of a role on the API server of `node`, for a client of that name. */
export function rulesOf(role: Role, node: string, username: string): readonly Rule[] {
  const reads = role === 'admin' ? [] : [READ, READ_CRDS, READ_CORE, ...ASK_ABOUT_SELF];
  return [...RULES[role](node, memberOf(username, node)), ...reads];
}

const MAINTENANCES = ['nodemaintenances', 'nodemaintenances/status'];
const ROUTERS = ['routers', 'routers/status'];

/** What each role may do beyond reading. `member` is the node that the client belongs to. */
const RULES = {
  admin: () => [{ verbs: ['*'], groups: ['*'], resources: ['*'] }],
  router: (_node, member) => [
    { verbs: ['update', 'patch'], groups: [GROUP], resources: ['routers/status'], names: [member] },
    { verbs: [...CHANGE, 'deletecollection'], groups: [GROUP], resources: MAINTENANCES },
  ],
  syncer: (node, member) =>
    member === node
      ? [{ verbs: CHANGE, groups: [GROUP], resources: [...ROUTERS, ...MAINTENANCES], only: 'mirrors' }]
      : [
          { verbs: ['create', 'update', 'patch'], groups: [GROUP], resources: ROUTERS, only: 'published' },
          { verbs: CHANGE, groups: [GROUP], resources: MAINTENANCES, only: 'published' },
        ],
  sidecar: () => [],
  cloud: () => [
    {
      verbs: [...CHANGE, 'deletecollection'],
      groups: [GROUP],
      resources: ['routers', 'nodemaintenances'],
    },
  ],
} satisfies Record<Role, (node: string, member: string) => readonly Rule[]>;

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
  /** What the objects themselves must be. */
  only: Restriction | undefined;
}

function covers(list: readonly string[], value: string): boolean {
  return list.includes('*') || list.includes(value);
}

/** Whether an identity may do something on the API server of `node`. */
export function authorize(identity: Identity, attributes: Attributes, node: string): Decision {
  let restricted: Rule | undefined;
  for (const role of identity.roles) {
    for (const rule of rulesOf(role, node, identity.username)) {
      const isMatch =
        covers(rule.verbs, attributes.verb) &&
        covers(rule.groups, attributes.group) &&
        covers(rule.resources, attributes.resource) &&
        (rule.names === undefined || (attributes.name !== undefined && rule.names.includes(attributes.name)));
      if (!isMatch) continue;
      if (rule.only === undefined) return { allowed: true, only: undefined };
      restricted ??= rule;
    }
  }
  return { allowed: restricted !== undefined, only: restricted?.only };
}

function originOf(object: KubeObject): string {
  return object.metadata.annotations?.[ORIGIN_ANNOTATION] ?? '';
}

/** Whether an object is a mirror that a syncer of `node` may touch. */
export function isMirror(object: KubeObject, node: string): boolean {
  return originOf(object) !== '' && object.metadata.name !== node;
}

/** Why a client of `member` may not turn `current` into `next` by what it publishes; undefined when it may. */
export function publishProblem(
  member: string,
  current: KubeObject | undefined,
  next: KubeObject | undefined,
): string | undefined {
  const given = [current, next].filter((object) => object !== undefined);
  if (given.some(({ kind }) => kind === 'Router')) {
    const isOwn = given.every((object) => object.metadata.name === member && originOf(object) === '');
    return isOwn ? undefined : `a node publishes no other Router than its own, ${member}`;
  }
  if (next !== undefined && originOf(next) !== member)
    return `a node publishes NodeMaintenances with its own name as origin, ${member}`;
  if (current === undefined || originOf(current) === member) return undefined;
  // the node behind it moved to another Router
  const isFree = next !== undefined && originOf(current) !== '' && !isOnline(current);
  return isFree
    ? undefined
    : 'a NodeMaintenance of another node is taken over only while it is offline there';
}

function isOnline({ status }: KubeObject): boolean {
  const { services } = (status ?? {}) as { services?: { status?: string }[] };
  return services?.some((service) => service.status === 'online') === true;
}
