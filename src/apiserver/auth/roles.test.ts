/** The whole permission table: every role, verb, resource, subresource and name, against a list written by hand. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { authorize, isMirror, memberOf, publishProblem, ROLES, rolesOfGroups } from './roles.ts';
import type { Role } from './roles.ts';

const NODE = 'node-1';
const VERBS = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'] as const;
const RESOURCES = [
  'routers',
  'routers/status',
  'nodemaintenances',
  'nodemaintenances/status',
  'customresourcedefinitions',
  'events',
  'namespaces',
  'services',
  'secrets',
  'backup',
] as const;
const NAMES = [NODE, 'node-2', undefined] as const;

const READS = new Set(['get', 'list', 'watch']);
const CHANGES = new Set(['create', 'update', 'patch', 'delete']);

/** What is allowed, said the long way round: `all`, `mirrors` or nothing. */
function expected(role: Role, verb: string, resource: string, name: string | undefined): string {
  if (role === 'admin') return 'all';
  if (resource === 'backup' || resource === 'secrets') return 'no';
  if (READS.has(verb)) return 'all';
  if (groupOf(resource) !== 'edge.example.com') return 'no';
  switch (role) {
    case 'router':
      if (resource === 'routers/status')
        return name === NODE && (verb === 'update' || verb === 'patch') ? 'all' : 'no';
      return resource.startsWith('nodemaintenances') ? 'all' : 'no';
    case 'syncer':
      return CHANGES.has(verb) ? 'mirrors' : 'no';
    case 'cloud':
      return resource.includes('/') ? 'no' : 'all';
    case 'sidecar':
      return 'no';
  }
}

const CORE = new Set(['events', 'namespaces', 'services', 'secrets']);

function groupOf(resource: string): string {
  if (CORE.has(resource)) return '';
  if (resource === 'customresourcedefinitions') return 'apiextensions.k8s.io';
  return resource === 'backup' ? 'node.edge.example.com' : 'edge.example.com';
}

test('every role may do exactly what the table says, for every verb, resource and name', () => {
  let count = 0;
  for (const role of ROLES) {
    const identity = { username: 'u', groups: [`edge:${role}`], roles: [role] };
    for (const verb of VERBS) {
      for (const resource of RESOURCES) {
        for (const name of NAMES) {
          const decision = authorize(identity, { verb, group: groupOf(resource), resource, name }, NODE);
          const got = decision.allowed ? (decision.only ?? 'all') : 'no';
          assert.equal(
            got,
            expected(role, verb, resource, name),
            `${role} ${verb} ${resource} ${name ?? '*'}`,
          );
          count++;
        }
      }
    }
  }
  assert.equal(count, ROLES.length * VERBS.length * RESOURCES.length * NAMES.length);
});

test('an identity without roles may do nothing, one with two what either may', () => {
  const attributes = { verb: 'update', group: 'edge.example.com', resource: 'routers/status', name: NODE };
  const identity = (roles: Role[]) => ({ username: 'u', groups: [], roles });
  assert.equal(authorize(identity([]), attributes, NODE).allowed, false);
  const both = authorize(identity(['syncer', 'router']), attributes, NODE);
  assert.deepEqual(both, { allowed: true, only: undefined });
});

test('unknown verbs, groups and resources are refused to all but administrators', () => {
  for (const role of ROLES) {
    const identity = { username: 'u', groups: [], roles: [role] };
    for (const [verb, group, resource] of [
      ['impersonate', 'edge.example.com', 'routers'],
      ['create', 'apps', 'deployments'],
      ['get', '', 'secrets'],
      ['patch', 'edge.example.com', 'routers/scale'],
    ] as const) {
      const { allowed } = authorize(identity, { verb, group, resource }, NODE);
      assert.equal(allowed, role === 'admin', `${role} ${verb} ${group}/${resource}`);
    }
  }
});

test('every role may ask about itself, and about nobody else', () => {
  for (const role of ROLES) {
    const identity = { username: 'u', groups: [], roles: [role] };
    for (const [group, resource, isOwn] of [
      ['authentication.k8s.io', 'selfsubjectreviews', true],
      ['authorization.k8s.io', 'selfsubjectaccessreviews', true],
      ['authorization.k8s.io', 'selfsubjectrulesreviews', true],
      ['authorization.k8s.io', 'subjectaccessreviews', false],
      ['authentication.k8s.io', 'tokenreviews', false],
    ] as const) {
      const { allowed } = authorize(identity, { verb: 'create', group, resource }, NODE);
      assert.equal(allowed, isOwn || role === 'admin', `${role} ${resource}`);
    }
  }
});

test('groups give roles by their exact names only', () => {
  assert.deepEqual(rolesOfGroups(['edge:syncer']), ['syncer']);
  assert.deepEqual(rolesOfGroups(['system:masters']), ['admin']);
  for (const group of ['edge:admin ', 'Edge:admin', 'edge:administrator', 'admin,router', ''])
    assert.deepEqual(rolesOfGroups([group]), [], group);
});

test('a mirror has an origin and is not this node', () => {
  const object = (name: string, origin?: string) => ({
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: {
      name,
      ...(origin === undefined ? {} : { annotations: { 'edge.example.com/origin': origin } }),
    },
  });
  assert.ok(isMirror(object('node-2', 'node-2'), NODE));
  assert.ok(!isMirror(object('node-2'), NODE));
  assert.ok(!isMirror(object('node-2', ''), NODE));
  assert.ok(!isMirror(object(NODE, 'node-2'), NODE));
});

test('a client belongs to the node that its certificate names, else to that of the server', () => {
  assert.equal(memberOf('edge:syncer:node-2', NODE), 'node-2');
  for (const name of ['edge:nobody:node-2', 'edge:syncer:', 'syncer', 'edge:socket', ''])
    assert.equal(memberOf(name, NODE), NODE, name);
});

test('the syncer of another node may write what it publishes, its router the status of its own Router', () => {
  const identity = (role: Role) => ({ username: `edge:${role}:node-2`, groups: [], roles: [role] });
  const ask = (role: Role, verb: string, resource: string, name?: string) => {
    const { allowed, only } = authorize(
      identity(role),
      { verb, group: 'edge.example.com', resource, name },
      NODE,
    );
    return allowed ? (only ?? 'all') : 'no';
  };
  for (const verb of ['create', 'update', 'patch'])
    for (const resource of ['routers', 'routers/status', 'nodemaintenances', 'nodemaintenances/status'])
      assert.equal(ask('syncer', verb, resource, 'node-2'), 'published', `${verb} ${resource}`);
  assert.equal(ask('syncer', 'delete', 'nodemaintenances', 'x'), 'published');
  assert.equal(ask('syncer', 'delete', 'routers', 'node-2'), 'no');
  assert.equal(ask('syncer', 'deletecollection', 'nodemaintenances'), 'no');
  assert.equal(ask('syncer', 'get', 'routers', 'node-3'), 'all');
  assert.equal(ask('router', 'patch', 'routers/status', 'node-2'), 'all');
  assert.equal(ask('router', 'patch', 'routers/status', NODE), 'no');
});

test('a node publishes its own Router and what it is the origin of, and takes over what is offline elsewhere', () => {
  const object = (kind: string, name: string, origin = '', status?: unknown) => ({
    apiVersion: 'edge.example.com/v1',
    kind,
    metadata: { name, ...(origin === '' ? {} : { annotations: { 'edge.example.com/origin': origin } }) },
    ...(status === undefined ? {} : { status }),
  });
  const problem = (...args: [ReturnType<typeof object>?, ReturnType<typeof object>?]) =>
    publishProblem('node-2', args[0], args[1]);
  const own = object('Router', 'node-2');
  assert.equal(problem(undefined, own), undefined);
  assert.equal(problem(own, own), undefined);
  assert.match(problem(undefined, object('Router', 'node-3')) ?? '', /no other Router/u);
  assert.match(problem(undefined, object('Router', 'node-3', 'node-2')) ?? '', /no other Router/u);
  assert.match(problem(object('Router', 'node-2', 'node-9'), own) ?? '', /no other Router/u);
  const mine = object('NodeMaintenance', 'nm', 'node-2');
  const at = (status: string) => object('NodeMaintenance', 'nm', 'node-3', { services: [{ status }] });
  assert.equal(problem(undefined, mine), undefined);
  assert.equal(problem(mine, undefined), undefined);
  assert.equal(problem(at('offline'), mine), undefined);
  assert.match(problem(at('online'), mine) ?? '', /only while it is offline/u);
  assert.match(problem(at('offline'), undefined) ?? '', /taken over/u);
  assert.match(problem(mine, at('offline')) ?? '', /own name as origin/u);
  assert.match(problem(undefined, object('NodeMaintenance', 'nm')) ?? '', /own name as origin/u);
  assert.match(problem(object('NodeMaintenance', 'nm'), mine) ?? '', /taken over/u);
});
