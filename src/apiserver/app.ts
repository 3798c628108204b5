/** The HTTP application: routes to handlers, and around them identity, audit, metrics and error translation. */
import { Hono } from 'hono';
import { methodNotAllowed, notFound, statusError, unknownResource } from '../api/status.ts';
import { commit } from '../lib/build-info.ts';
import { errorMessage } from '../lib/errors.ts';
import { impersonate, mayImpersonate } from './auth/impersonation.ts';
import { auditEntry, isAudited } from './audit-entry.ts';
import { compressLarge } from './handlers/compress.ts';
import type { ApiContext, ApiDeps, ApiEnv, Call } from './handlers/context.ts';
import { startCall } from './handlers/context.ts';
import { deleteCollection, deleteObject } from './handlers/delete.ts';
import {
  getGroup,
  getGroups,
  getLegacyVersions,
  getPaths,
  getResources,
  getVersion,
} from './handlers/discovery.ts';
import { addHealth } from './handlers/health.ts';
import { OpenApi } from './handlers/openapi.ts';
import { readBoolean } from './handlers/parameters.ts';
import { indentForPeople, isForPeople } from './handlers/pretty.ts';
import { patchObject } from './handlers/patch.ts';
import { getObject, listObjects } from './handlers/read.ts';
import { errorResponse, toStatusError, withWarnings } from './handlers/respond.ts';
import { reviewAccess, reviewRules, reviewSelf } from './handlers/reviews.ts';
import { watchObjects } from './handlers/watch.ts';
import { createObject, updateObject } from './handlers/write.ts';
import { addNodeRoutes, addOpenNodeRoutes } from './node/routes.ts';
import { coreResources, createCoreStore } from './registry/core-resources.ts';
import { createCrdStore, crdResource } from './registry/crd-resource.ts';
import { CachedRouter } from './cached-router.ts';
import type { Identity } from './auth/roles.ts';
import type { Resource } from './registry/resources.ts';
import type { Subresource } from './registry/strategy.ts';

/** Creates the application. */
export function createApp(deps: ApiDeps): Hono<ApiEnv> {
  // one trailing slash is tolerated
  const app = new Hono<ApiEnv>({ strict: false, router: new CachedRouter() });
  app.onError((err, c) => failure(err, c, deps));
  app.notFound((c) => failure(unknownResource(), c, deps));

  app.use(async (c, next) => {
    const startedAt = deps.clock.now();
    await next();
    observe(c, deps, startedAt);
  });
  addHealth(app, deps);
  app.get('/version', () => getVersion(commit));

  app.use('/edge/v1/join', (c, next) => {
    refuseUnlessServing(deps);
    return limited(c, deps, next);
  });
  if (deps.nodeApi !== undefined) addOpenNodeRoutes(app, deps.nodeApi, deps.node);
  app.use((c, next) => {
    refuseUnlessServing(deps);
    const identity = deps.authenticate({
      transport: c.env.transport,
      authorization: c.req.header('authorization'),
      incoming: c.env.incoming,
    });
    c.set('identity', identity); // a refusal below is its own
    if (c.env.incoming === undefined || mayImpersonate(c.env.incoming.rawHeaders))
      c.set('identity', impersonate(identity, c.req.raw.headers));
    return limited(c, deps, next);
  });
  if (deps.nodeApi !== undefined) addNodeRoutes(app, deps, deps.nodeApi);
  app.use(async (c, next) => {
    await next();
    if (isForPeople(c)) await indentForPeople(c);
    if (c.req.method === 'GET') await compressLarge(c);
  });
  const served = servedResources(deps);
  addDiscovery(app, deps, served);
  addReviews(app, deps);
  addResources(app, served);
  return app;
}

function refuseUnlessServing({ notServing }: ApiDeps): void {
  const problem = notServing();
  if (problem !== undefined) throw statusError('ServiceUnavailable', problem, { retryAfterSeconds: 1 });
}

/** Counts a request against its client's limits until it is answered, a watch until it ends. */
async function limited(c: ApiContext, deps: ApiDeps, next: () => Promise<void>): Promise<void> {
  const { incoming, outgoing } = c.env;
  const mayWatch = c.req.method === 'GET' && (c.req.query('watch') ?? 'false') !== 'false';
  const identity = c.get('identity') as Identity | undefined; // a joining node has none yet
  const client = `${identity?.impersonatedBy ?? identity?.username ?? ''} ${incoming?.socket.remoteAddress ?? ''}`;
  const release = deps.limits.admit(client, mayWatch);
  let isWatch = false;
  try {
    await next();
    isWatch = c.get('verb') === 'watch' && outgoing !== undefined && c.error === undefined;
  } finally {
    if (isWatch && outgoing?.closed === false) outgoing.once('close', release);
    else release();
  }
}

/** A resource and the parts that serve it: what is built in has a store of its own. */
interface Served {
  resource: Resource;
  of: ApiDeps;
}

/** Everything that is served, in the order of discovery. */
function servedResources(deps: ApiDeps): Served[] {
  const own = [...deps.resources.values()];
  const now = deps.clock.wallNow();
  const crds = createCrdStore(
    own.map(({ crd }) => crd),
    now,
  );
  const core = createCoreStore(now);
  return [
    ...own.map((resource) => ({ resource, of: deps })),
    { resource: crdResource, of: { ...deps, store: crds } },
    ...coreResources.map((resource) => ({ resource, of: { ...deps, store: core } })),
  ];
}

function addDiscovery(app: Hono<ApiEnv>, { resources }: ApiDeps, served: readonly Served[]): void {
  const openApi = new OpenApi(resources.values());
  const discovered = served.map(({ resource }) => resource);
  app.get('/', () => getPaths(discovered));
  app.get('/api', (c) => getLegacyVersions(c, discovered));
  app.get('/api/:version', (c) => getResources(discovered, '', c.req.param('version')));
  app.get('/apis', (c) => getGroups(c, discovered));
  app.get('/apis/:group', (c) => getGroup(discovered, c.req.param('group')));
  app.get('/apis/:group/:version', (c) =>
    getResources(discovered, c.req.param('group'), c.req.param('version')),
  );
  app.get('/openapi/v3', (c) => openApi.getIndex(c));
  app.get('/openapi/v3/apis/:group/:version', (c) =>
    openApi.getDocument(c, `${c.req.param('group')}/${c.req.param('version')}`),
  );
  app.get('/openapi/v2', (c) => openApi.getV2(c));
}

function addReviews(app: Hono<ApiEnv>, deps: ApiDeps): void {
  app.post('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', (c) => reviewAccess(c, deps));
  app.post('/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', (c) => reviewRules(c, deps));
  for (const version of ['v1', 'v1beta1']) {
    app.post(`/apis/authentication.k8s.io/${version}/selfsubjectreviews`, (c) => reviewSelf(c, version));
  }
}

function addResources(app: Hono<ApiEnv>, served: readonly Served[]): void {
  const byPath = new Map(
    served.map((entry) => [`${entry.resource.apiVersion}/${entry.resource.plural}`, entry]),
  );
  // the longer paths first: /api/v1/namespaces/NAME/events is no subresource of a namespace
  for (const base of ['/api/:version/namespaces/:namespace', '/api/:version', '/apis/:group/:version'])
    addPaths(app, base, byPath);
}

function addPaths(app: Hono<ApiEnv>, base: string, served: ReadonlyMap<string, Served>): void {
  const find = (c: ApiContext): Served => {
    const { group, version, namespace, resource: plural } = c.req.param() as Record<string, string>;
    const found = served.get([...(group === undefined ? [] : [group]), version, plural].join('/'));
    if (found === undefined || (namespace !== undefined && !found.resource.isNamespaced))
      throw unknownResource();
    return found;
  };
  const refuse = (c: ApiContext): never => {
    const verb = c.req.method === 'POST' ? 'create' : c.req.method.toLowerCase();
    throw methodNotAllowed(find(c).resource, verb);
  };
  const collection = `${base}/:resource`;
  const call = (c: ApiContext, verb: string): Call => {
    const { resource, of } = find(c);
    const call = startCall(c, of, resource, { verb });
    if (!resource.verbs.includes(verb)) throw methodNotAllowed(resource, verb);
    return call;
  };
  app.get(collection, (c) => {
    // HEAD comes here too, and has no body to stream
    const isWatch = c.req.method === 'GET' && readBoolean(c, 'watch') === true;
    return isWatch ? watchObjects(call(c, 'watch')) : listObjects(call(c, 'list'));
  });
  app.post(collection, (c) => createObject(call(c, 'create')));
  app.delete(collection, (c) => deleteCollection(call(c, 'deletecollection')));
  app.all(collection, refuse);

  // the old form of watches
  app.get(`${base}/watch/:resource`, (c) => watchObjects(call(c, 'watch')));
  app.get(`${base}/watch/:resource/:name`, (c) => watchObjects(call(c, 'watch'), c.req.param('name')));

  const object = `${collection}/:name`;
  const named = (c: ApiContext, verb: string, subresource?: Subresource): [Call, string] => {
    const { resource, of } = find(c);
    const name = c.req.param('name') ?? '';
    const call = startCall(c, of, resource, { verb, name, subresource });
    if (!resource.verbs.includes(verb)) throw methodNotAllowed(resource, verb);
    if (subresource !== undefined && !resource.statusVerbs.includes(verb)) throw notFound(resource, name);
    return [call, name];
  };
  app.get(object, (c) => getObject(...named(c, 'get')));
  app.put(object, (c) => updateObject(...named(c, 'update'), undefined));
  app.patch(object, (c) => patchObject(...named(c, 'patch'), undefined));
  app.delete(object, (c) => deleteObject(...named(c, 'delete')));
  app.all(object, refuse);

  const status = `${object}/status`;
  app.get(status, (c) => getObject(...named(c, 'get', 'status')));
  app.put(status, (c) => updateObject(...named(c, 'update', 'status'), 'status'));
  app.patch(status, (c) => patchObject(...named(c, 'patch', 'status'), 'status'));
  app.all(status, refuse);
  app.all(`${object}/:subresource`, (c) => {
    throw notFound(find(c).resource, c.req.param('name') ?? '');
  });
}

function failure(err: unknown, c: ApiContext, deps: ApiDeps): Response {
  const error = toStatusError(err);
  c.set('reason', error.reason);
  if (error.httpCode === 500) {
    deps.log.error('request failed', {
      method: c.req.method,
      path: c.req.path,
      error: err instanceof Error ? (err.stack ?? err.message) : errorMessage(err),
    });
  }
  const { warnings = [] } = c.var as Partial<typeof c.var>; // a request refused early has none
  return withWarnings(errorResponse(error, c.req.header('accept')), warnings);
}

/** Counts a finished request, and records it when it was a write or was denied. */
function observe(c: ApiContext, deps: ApiDeps, startedAt: number): void {
  const { metrics, audit, clock } = deps;
  const verb = c.get('verb') ?? 'other';
  const resource = c.get('resource') ?? 'other';
  const code = c.res.status;
  const ms = clock.now() - startedAt;
  metrics.requests.inc({ verb, resource, code: String(code) });
  if (verb !== 'watch') metrics.duration.observe({ verb, resource }, ms / 1000);
  if (audit !== undefined && isAudited(c, code))
    audit.write(auditEntry(c, { verb, resource, code, ms }, clock));
}
