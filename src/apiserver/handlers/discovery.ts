/** Discovery: which groups, versions and resources there are, in the plain and the aggregated form. */
import { createHash } from 'node:crypto';
import { version } from '../../lib/build-info.ts';
import { unknownResource } from '../../api/status.ts';
import type { Resource } from '../registry/resources.ts';
import type { ApiContext } from './context.ts';
import { notAcceptable, parseAccept } from './negotiation.ts';
import { jsonResponse, textResponse } from './respond.ts';

const DISCOVERY_GROUP = 'apidiscovery.k8s.io';

/** Answers with an ETag, or 304 when the client has this answer already. */
export function cacheableResponse(
  c: ApiContext,
  body: string | Uint8Array<ArrayBuffer>,
  type: string,
): Response {
  const etag = `"${createHash('sha256').update(body).digest('hex').slice(0, 32).toUpperCase()}"`;
  const headers = { etag, vary: 'Accept', 'cache-control': 'public' };
  const known = c.req.header('if-none-match');
  if (known?.split(',').some((entry) => entry.trim().replace(/^W\//u, '') === etag) === true) {
    return new Response(null, { status: 304, headers });
  }
  return textResponse(body, 200, type, headers);
}

/** The version of the aggregated form that the client wants first, or undefined for the plain form. */
function wantedAggregation(c: ApiContext): 'v2' | 'v2beta1' | undefined {
  for (const { type, parameters } of parseAccept(c.req.header('accept'))) {
    const as = parameters.get('as');
    const v = parameters.get('v');
    if (as === undefined) {
      if (type === 'application/json' || type === 'application/*' || type === '*/*') return undefined;
    } else if (
      type === 'application/json' &&
      as === 'APIGroupDiscoveryList' &&
      parameters.get('g') === DISCOVERY_GROUP &&
      (v === 'v2' || v === 'v2beta1')
    ) {
      return v;
    }
  }
  throw notAcceptable([
    'application/json',
    `application/json;g=${DISCOVERY_GROUP};v=v2;as=APIGroupDiscoveryList`,
  ]);
}

function aggregated(c: ApiContext, v: string, items: unknown[]): Response {
  const body = { kind: 'APIGroupDiscoveryList', apiVersion: `${DISCOVERY_GROUP}/${v}`, metadata: {}, items };
  return cacheableResponse(
    c,
    JSON.stringify(body),
    `application/json;g=${DISCOVERY_GROUP};v=${v};as=APIGroupDiscoveryList`,
  );
}

/** Resources by group and version. */
function groupVersions(resources: Iterable<Resource>): Map<string, Map<string, Resource[]>> {
  const groups = new Map<string, Map<string, Resource[]>>();
  for (const resource of resources) {
    const versions = groups.get(resource.group) ?? new Map<string, Resource[]>();
    groups.set(resource.group, versions);
    versions.set(resource.version, [...(versions.get(resource.version) ?? []), resource]);
  }
  return groups;
}

/** The group without a name, whose paths begin with /api. */
const CORE = '';

/** GET /api: the versions of the core group. */
export function getLegacyVersions(c: ApiContext, resources: Iterable<Resource>): Response {
  const versions = groupVersions(resources).get(CORE) ?? new Map<string, Resource[]>();
  const v = wantedAggregation(c);
  if (v !== undefined) return aggregated(c, v, [aggregatedGroup({}, versions)]);
  return jsonResponse({
    kind: 'APIVersions',
    versions: [...versions.keys()],
    serverAddressByClientCIDRs: [],
  });
}

/** GET /apis. */
export function getGroups(c: ApiContext, resources: Iterable<Resource>): Response {
  const groups = namedGroups(resources);
  const v = wantedAggregation(c);
  if (v === undefined) {
    return jsonResponse({
      kind: 'APIGroupList',
      apiVersion: 'v1',
      groups: [...groups].map(([name, versions]) => group(name, versions)),
    });
  }
  return aggregated(
    c,
    v,
    [...groups].map(([name, versions]) => aggregatedGroup({ name }, versions)),
  );
}

function namedGroups(resources: Iterable<Resource>): Map<string, Map<string, Resource[]>> {
  const groups = groupVersions(resources);
  groups.delete(CORE);
  return groups;
}

function aggregatedGroup(metadata: { name?: string }, versions: ReadonlyMap<string, Resource[]>): unknown {
  return {
    metadata,
    versions: [...versions].map(([version, entries]) => ({
      version,
      freshness: 'Current',
      resources: entries.map((resource) => aggregatedResource(resource)),
    })),
  };
}

function aggregatedResource(resource: Resource): unknown {
  const responseKind = { group: resource.group, version: resource.version, kind: resource.kind };
  return {
    resource: resource.plural,
    responseKind,
    scope: resource.isNamespaced ? 'Namespaced' : 'Cluster',
    singularResource: resource.singular,
    verbs: resource.verbs,
    ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
    ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
    ...(resource.statusVerbs.length > 0
      ? { subresources: [{ subresource: 'status', responseKind, verbs: resource.statusVerbs }] }
      : {}),
  };
}

function group(name: string, versions: ReadonlyMap<string, unknown>): Record<string, unknown> {
  const list = [...versions.keys()].map((entry) => ({ groupVersion: `${name}/${entry}`, version: entry }));
  return { name, versions: list, preferredVersion: list[0] };
}

/** GET /apis/GROUP; throws a 404 Status for a group that is not served. */
export function getGroup(resources: Iterable<Resource>, name: string): Response {
  const versions = namedGroups(resources).get(name);
  if (versions === undefined) throw unknownResource();
  return jsonResponse({ kind: 'APIGroup', apiVersion: 'v1', ...group(name, versions) });
}

/** GET /apis/GROUP/VERSION, and /api/VERSION for the core group; throws a 404 Status for one that is not served. */
export function getResources(resources: Iterable<Resource>, name: string, version: string): Response {
  const entries = groupVersions(resources).get(name)?.get(version);
  if (entries?.[0] === undefined) throw unknownResource();
  const list = entries.flatMap((resource) => [
    {
      name: resource.plural,
      singularName: resource.singular,
      namespaced: resource.isNamespaced,
      kind: resource.kind,
      verbs: resource.verbs,
      ...(resource.shortNames.length > 0 ? { shortNames: resource.shortNames } : {}),
      ...(resource.categories.length > 0 ? { categories: resource.categories } : {}),
    },
    ...(resource.statusVerbs.length > 0
      ? [
          {
            name: `${resource.plural}/status`,
            singularName: '',
            namespaced: resource.isNamespaced,
            kind: resource.kind,
            verbs: resource.statusVerbs,
          },
        ]
      : []),
  ]);
  return jsonResponse({
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: entries[0].apiVersion,
    resources: list,
  });
}

/** GET /: the paths that there are. */
export function getPaths(resources: Iterable<Resource>): Response {
  const groups = [...namedGroups(resources)].flatMap(([name, versions]) => [
    `/apis/${name}`,
    ...[...versions.keys()].map((version) => `/apis/${name}/${version}`),
  ]);
  const health = ['healthz', 'livez', 'readyz'].map((name) => `/${name}`);
  return jsonResponse({
    paths: ['/api', '/api/v1', '/apis', ...groups, ...health, '/openapi/v2', '/openapi/v3', '/version'],
  });
}

/** The Kubernetes release whose API conventions are served; clients warn when theirs is more than one away. */
const KUBERNETES_MINOR = 33;

/** GET /version. */
export function getVersion(commit: string): Response {
  return jsonResponse({
    major: '1',
    minor: String(KUBERNETES_MINOR),
    gitVersion: `v1.${KUBERNETES_MINOR}.0-edge.${version}`,
    gitCommit: commit,
    gitTreeState: 'clean',
    buildDate: '1970-01-01T00:00:00Z',
    goVersion: `node ${process.version}`,
    compiler: 'esbuild',
    platform: `${process.platform}/${process.arch === 'x64' ? 'amd64' : process.arch}`,
  });
}
