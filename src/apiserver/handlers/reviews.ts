/** Who am I, may I: the self reviews of the authentication and authorization groups, JSON or protobuf in, JSON out. */
import { badRequest } from '../../api/status.ts';
import { authorize, rulesOf } from '../auth/roles.ts';
import { contentType, decodeJson, decodeYaml, readBody, unsupportedMediaType } from './body.ts';
import { identityOf } from './context.ts';
import type { ApiContext, ApiDeps } from './context.ts';
import { fieldBytes, fieldText, decodeEnvelope } from './protobuf.ts';
import { jsonResponse } from './respond.ts';

const PROTOBUF = 'application/vnd.kubernetes.protobuf';

interface ResourceAttributes {
  namespace?: string;
  verb?: string;
  group?: string;
  version?: string;
  resource?: string;
  subresource?: string;
  name?: string;
}

interface ReviewSpec {
  resourceAttributes?: ResourceAttributes;
  nonResourceAttributes?: { path?: string; verb?: string };
  namespace?: string;
}

type ReviewKind = 'SelfSubjectAccessReview' | 'SelfSubjectRulesReview' | 'SelfSubjectReview';

async function readSpec(c: ApiContext, kind: ReviewKind): Promise<ReviewSpec> {
  const type = contentType(c);
  const bytes = await readBody(c);
  if (type === PROTOBUF) return specOfProtobuf(bytes, kind);
  if (type !== 'application/json' && type !== 'application/yaml') {
    throw unsupportedMediaType(['application/json', 'application/yaml', PROTOBUF]);
  }
  if (bytes.length === 0) throw badRequest(`the body of the request is not a ${kind}`);
  const { value } = type === 'application/json' ? decodeJson(bytes) : decodeYaml(bytes);
  const body = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  if (body['kind'] !== undefined && body['kind'] !== kind) {
    throw badRequest(`${JSON.stringify(body['kind'])} cannot be handled as a ${kind}`);
  }
  return body['spec'] ?? {};
}

/** The fields that the reviews' spec messages give their numbers (authorization/v1 generated.proto). */
function specOfProtobuf(bytes: Buffer, kind: ReviewKind): ReviewSpec {
  const envelope = decodeEnvelope(bytes);
  if (envelope.kind !== kind)
    throw badRequest(`${JSON.stringify(envelope.kind)} cannot be handled as a ${kind}`);
  const spec = fieldBytes(envelope.raw, 2);
  if (spec === undefined) return {};
  if (kind === 'SelfSubjectRulesReview') return { namespace: fieldText(spec, 1) };
  const resource = fieldBytes(spec, 1);
  const other = fieldBytes(spec, 2);
  const out: ReviewSpec = {};
  if (resource !== undefined && resource.length > 0) {
    out.resourceAttributes = {
      namespace: fieldText(resource, 1),
      verb: fieldText(resource, 2),
      group: fieldText(resource, 3),
      version: fieldText(resource, 4),
      resource: fieldText(resource, 5),
      subresource: fieldText(resource, 6),
      name: fieldText(resource, 7),
    };
  }
  if (other !== undefined && other.length > 0) {
    out.nonResourceAttributes = { path: fieldText(other, 1), verb: fieldText(other, 2) };
  }
  return out;
}

/** Paths that every identity may read. */
const READABLE_PATHS = [
  '/api',
  '/api/*',
  '/apis',
  '/apis/*',
  '/healthz',
  '/livez',
  '/openapi',
  '/openapi/*',
  '/readyz',
  '/version',
];

function mayUsePath(path: string, verb: string): boolean {
  if (verb !== 'get') return false;
  return READABLE_PATHS.some((entry) =>
    entry.endsWith('*') ? path.startsWith(entry.slice(0, -1)) : path === entry,
  );
}

/** POST selfsubjectaccessreviews. */
export async function reviewAccess(c: ApiContext, deps: ApiDeps): Promise<Response> {
  const spec = await readSpec(c, 'SelfSubjectAccessReview');
  const identity = identityOf(c);
  let allowed = false;
  if (spec.resourceAttributes !== undefined) {
    const { verb = '', group = '', resource = '', subresource = '', name = '' } = spec.resourceAttributes;
    const target = subresource === '' ? resource : `${resource}/${subresource}`;
    allowed = authorize(
      identity,
      { verb, group, resource: target, name: name === '' ? undefined : name },
      deps.node,
    ).allowed;
  } else if (spec.nonResourceAttributes !== undefined) {
    const { path = '', verb = '' } = spec.nonResourceAttributes;
    allowed = identity.roles.includes('admin') || mayUsePath(path, verb);
  } else
    throw badRequest(
      'spec.resourceAttributes: Invalid value: null: must specify one of resource or nonResource attributes',
    );
  const roles = identity.roles.length === 0 ? 'no role' : `role ${identity.roles.join(', ')}`;
  const status = { allowed, reason: `${identity.username} has ${roles} on ${deps.node}` };
  return review('authorization.k8s.io/v1', 'SelfSubjectAccessReview', spec, status);
}

/** POST selfsubjectrulesreviews. */
export async function reviewRules(c: ApiContext, deps: ApiDeps): Promise<Response> {
  const spec = await readSpec(c, 'SelfSubjectRulesReview');
  const identity = identityOf(c);
  const resourceRules = identity.roles.flatMap((role) =>
    rulesOf(role, deps.node, identity.username).map((rule) => ({
      verbs: rule.verbs,
      apiGroups: rule.groups,
      resources: rule.resources,
      resourceNames: rule.names, // undefined members are not written
    })),
  );
  const nonResourceRules = [{ verbs: ['get'], nonResourceURLs: READABLE_PATHS }];
  return review('authorization.k8s.io/v1', 'SelfSubjectRulesReview', spec, {
    resourceRules,
    nonResourceRules,
    incomplete: false,
  });
}

/** POST selfsubjectreviews. */
export async function reviewSelf(c: ApiContext, version: string): Promise<Response> {
  await readSpec(c, 'SelfSubjectReview');
  const { username, uid, groups } = identityOf(c);
  const userInfo = { username, ...(uid === undefined ? {} : { uid }), groups };
  return review(`authentication.k8s.io/${version}`, 'SelfSubjectReview', undefined, { userInfo });
}

function review(apiVersion: string, kind: ReviewKind, spec: unknown, status: unknown): Response {
  const metadata = { creationTimestamp: null };
  return jsonResponse({ kind, apiVersion, metadata, ...(spec === undefined ? {} : { spec }), status }, 201);
}
