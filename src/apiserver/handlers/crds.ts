/** The CRDs themselves, read-only: what a client needs to install the same kinds elsewhere. */
import type { CustomResourceDefinition } from '../../api/crd.ts';
import { forbidden, methodNotAllowed, notFound } from '../../api/status.ts';
import { authorize } from '../auth/roles.ts';
import type { ApiContext, ApiDeps } from './context.ts';
import { jsonResponse } from './respond.ts';

const RESOURCE = {
  group: 'apiextensions.k8s.io',
  plural: 'customresourcedefinitions',
  kind: 'CustomResourceDefinition',
};

/** A CRD as a server shows it: established, because what is built in cannot fail to be. */
function shown(crd: CustomResourceDefinition): unknown {
  const conditions = ['NamesAccepted', 'Established'].map((type) => ({
    type,
    status: 'True',
    reason: type === 'Established' ? 'InitialNamesAccepted' : 'NoConflicts',
    message: 'built in',
  }));
  const storedVersions = crd.spec.versions
    .filter((version) => version.storage)
    .map((version) => version.name);
  return {
    ...crd,
    metadata: { ...crd.metadata, resourceVersion: '1', generation: 1 },
    status: { conditions, acceptedNames: crd.spec.names, storedVersions },
  };
}

function check(c: ApiContext, deps: ApiDeps, verb: string, name?: string): void {
  const identity = c.get('identity');
  c.set('verb', verb);
  c.set('resource', RESOURCE.plural);
  const attributes = { verb, group: RESOURCE.group, resource: RESOURCE.plural, name };
  if (!authorize(identity, attributes, deps.node).allowed) {
    throw forbidden({ user: identity.username, ...attributes });
  }
}

/** GET of all CRDs. */
export function listCrds(c: ApiContext, deps: ApiDeps): Response {
  check(c, deps, 'list');
  const items = [...deps.resources.values()].map((resource) => shown(resource.crd));
  return jsonResponse({
    apiVersion: `${RESOURCE.group}/v1`,
    kind: `${RESOURCE.kind}List`,
    metadata: { resourceVersion: '1' },
    items,
  });
}

/** GET of one CRD. */
export function getCrd(c: ApiContext, deps: ApiDeps, name: string): Response {
  check(c, deps, 'get', name);
  const found = [...deps.resources.values()].find((resource) => resource.crd.metadata.name === name);
  if (found === undefined) throw notFound(RESOURCE, name);
  return jsonResponse(shown(found.crd));
}

/** Any write of a CRD. */
export function refuseCrdWrite(): never {
  throw methodNotAllowed(RESOURCE, 'write');
}
