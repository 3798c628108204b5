/** The HTTP application: which paths lead to which handlers. */
import { Hono } from 'hono';
import { methodNotAllowed, notFound, unknownResource } from '../api/status.ts';
import { commit } from '../lib/build-info.ts';
import { CachedRouter } from './cached-router.ts';
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
import { patchObject } from './handlers/patch.ts';
import { getObject, listObjects } from './handlers/read.ts';
import { reviewAccess, reviewRules, reviewSelf } from './handlers/reviews.ts';
import { watchObjects } from './handlers/watch.ts';
import { createObject, updateObject } from './handlers/write.ts';
import { addNodeRoutes, addOpenNodeRoutes } from './node/routes.ts';
import { coreResources, createCoreStore } from './registry/core-resources.ts';
import { createCrdStore, crdResource } from './registry/crd-resource.ts';
import type { Resource } from './registry/resources.ts';
import type { Subresource } from './registry/strategy.ts';
import { createRoutes } from './routes.ts';
import type { Handler, Routes } from './routes.ts';

/** Where the resources of the core group are. */
const CORE = '/api/v1';

/** Creates the application. */
export function createApp(deps: ApiDeps): Hono<ApiEnv> {
  // one trailing slash is tolerated
  const app = new Hono<ApiEnv>({ strict: false, router: new CachedRouter() });
  const { open, joining, own, api } = createRoutes(app, deps);
  addHealth(open, deps);
  open.get('/version', () => getVersion(commit));
  if (deps.nodeApi !== undefined) {
    addOpenNodeRoutes(open, joining, deps.nodeApi, deps.node);
    addNodeRoutes(own, deps, deps.nodeApi);
  }
  const served = servedResources(deps);
  addDiscovery(api, deps, served);
  addReviews(api, deps);
  addResources(api, served);
  api.rest(unknown);
  return app;
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

function addDiscovery(routes: Routes, { resources }: ApiDeps, served: readonly Served[]): void {
  const openApi = new OpenApi(resources.values());
  const discovered = served.map(({ resource }) => resource);
  routes.get('/', () => getPaths(discovered));
  routes.get('/api', (c) => getLegacyVersions(c, discovered));
  routes.get('/api/:version', (c) => getResources(discovered, '', c.req.param('version') ?? ''));
  routes.get('/apis', (c) => getGroups(c, discovered));
  routes.get('/apis/:group', (c) => getGroup(discovered, c.req.param('group') ?? ''));
  routes.get('/apis/:group/:version', (c) =>
    getResources(discovered, c.req.param('group') ?? '', c.req.param('version') ?? ''),
  );
  routes.get('/openapi/v3', (c) => openApi.getIndex(c));
  routes.get('/openapi/v3/apis/:group/:version', (c) =>
    openApi.getDocument(c, `${c.req.param('group')}/${c.req.param('version')}`),
  );
  routes.get('/openapi/v2', (c) => openApi.getV2(c));
}

function addReviews(routes: Routes, deps: ApiDeps): void {
  routes.post('/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', (c) => reviewAccess(c, deps));
  routes.post('/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', (c) => reviewRules(c, deps));
  for (const version of ['v1', 'v1beta1']) {
    routes.post(`/apis/authentication.k8s.io/${version}/selfsubjectreviews`, (c) => reviewSelf(c, version));
  }
}

function addResources(routes: Routes, served: readonly Served[]): void {
  // the longer paths first: /api/v1/namespaces/NAME/events is no subresource of a namespace
  for (const entry of served.filter(({ resource }) => resource.isNamespaced))
    addPaths(routes, `${rootOf(entry.resource)}/namespaces/:namespace`, entry);
  routes.all(`${CORE}/namespaces/:namespace/:resource`, unknown);
  for (const entry of served) addPaths(routes, rootOf(entry.resource), entry);
}

function rootOf({ group, apiVersion }: Resource): string {
  return group === '' ? CORE : `/apis/${apiVersion}`;
}

function unknown(): never {
  throw unknownResource();
}

function addPaths(routes: Routes, base: string, { resource, of }: Served): void {
  const refuse = (c: ApiContext): never => {
    const verb = c.req.method === 'POST' ? 'create' : c.req.method.toLowerCase();
    throw methodNotAllowed(resource, verb);
  };
  /** One handler a path, which chooses by method: what else the path could be need not be looked for. */
  const add = (path: string, byMethod: Readonly<Record<string, Handler>>): void => {
    const handlers = new Map(Object.entries(byMethod));
    const get = handlers.get('GET');
    if (get !== undefined) handlers.set('HEAD', get);
    routes.all(path, (c) => (handlers.get(c.req.method) ?? refuse)(c));
  };
  const collection = `${base}/${resource.plural}`;
  const call = (c: ApiContext, verb: string): Call => {
    const call = startCall(c, of, resource, { verb });
    if (!resource.verbs.includes(verb)) throw methodNotAllowed(resource, verb);
    return call;
  };
  add(collection, {
    GET: (c) => {
      // HEAD comes here too, and has no body to stream
      const isWatch = c.req.method === 'GET' && readBoolean(c, 'watch') === true;
      return isWatch ? watchObjects(call(c, 'watch')) : listObjects(call(c, 'list'));
    },
    POST: (c) => createObject(call(c, 'create')),
    DELETE: (c) => deleteCollection(call(c, 'deletecollection')),
  });

  // the old form of watches
  routes.get(`${base}/watch/${resource.plural}`, (c) => watchObjects(call(c, 'watch')));
  routes.get(`${base}/watch/${resource.plural}/:name`, (c) =>
    watchObjects(call(c, 'watch'), c.req.param('name')),
  );

  const object = `${collection}/:name`;
  const named = (c: ApiContext, verb: string, subresource?: Subresource): [Call, string] => {
    const name = c.req.param('name') ?? '';
    const call = startCall(c, of, resource, { verb, name, subresource });
    if (!resource.verbs.includes(verb)) throw methodNotAllowed(resource, verb);
    if (subresource !== undefined && !resource.statusVerbs.includes(verb)) throw notFound(resource, name);
    return [call, name];
  };
  add(object, {
    GET: (c) => getObject(...named(c, 'get')),
    PUT: (c) => updateObject(...named(c, 'update'), undefined),
    PATCH: (c) => patchObject(...named(c, 'patch'), undefined),
    DELETE: (c) => deleteObject(...named(c, 'delete')),
  });
  add(`${object}/status`, {
    GET: (c) => getObject(...named(c, 'get', 'status')),
    PUT: (c) => updateObject(...named(c, 'update', 'status'), 'status'),
    PATCH: (c) => patchObject(...named(c, 'patch', 'status'), 'status'),
  });
  routes.all(`${object}/:subresource`, (c) => {
    throw notFound(resource, c.req.param('name') ?? '');
  });
}
