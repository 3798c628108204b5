/** The CRDs themselves as a resource that can be read, listed and watched: what installs the same kinds elsewhere. */
import { createHash } from 'node:crypto';
import type { CustomResourceDefinition } from '../../api/crd.ts';
import type { KubeObject } from '../../api/meta.ts';
import { rfc3339 } from '../../lib/clock.ts';
import type { ObjectStore } from '../store/store.ts';
import { createResource } from './resources.ts';
import type { Resource } from './resources.ts';
import { BUILT_IN_REVISION, createStaticStore } from './static-store.ts';

const GROUP = 'apiextensions.k8s.io';

/** The resource `customresourcedefinitions`; only its status has no path of its own. */
export const crdResource: Resource = createResource(
  {
    apiVersion: `${GROUP}/v1`,
    kind: 'CustomResourceDefinition',
    metadata: { name: `customresourcedefinitions.${GROUP}` },
    spec: {
      group: GROUP,
      scope: 'Cluster',
      names: {
        kind: 'CustomResourceDefinition',
        listKind: 'CustomResourceDefinitionList',
        plural: 'customresourcedefinitions',
        singular: 'customresourcedefinition',
        shortNames: ['crd', 'crds'],
        categories: ['api-extensions'],
      },
      versions: [
        {
          name: 'v1',
          served: true,
          storage: true,
          // a text and no date: the reference shows the time, not the age
          additionalPrinterColumns: [
            { name: 'Created At', type: 'string', jsonPath: '.metadata.creationTimestamp' },
          ],
          schema: { openAPIV3Schema: { type: 'object' } },
        },
      ],
    },
  },
  { isReadOnly: true },
);

/** A store of CRDs that never changes. */
export function createCrdStore(crds: Iterable<CustomResourceDefinition>, since: Date): ObjectStore {
  return createStaticStore({ [crdResource.plural]: [...crds].map((crd) => shown(crd, rfc3339(since))) });
}

/** A CRD as a server shows it: established, because what is built in cannot fail to be. */
function shown(crd: CustomResourceDefinition, time: string): KubeObject {
  const { names, versions } = crd.spec;
  const conditions = ['NamesAccepted', 'Established'].map((type) => ({
    type,
    status: 'True',
    lastTransitionTime: time,
    reason: type === 'Established' ? 'InitialNamesAccepted' : 'NoConflicts',
    message: 'built in',
  }));
  const storedVersions = versions.filter((version) => version.storage).map((version) => version.name);
  return {
    apiVersion: crd.apiVersion,
    kind: crd.kind,
    metadata: {
      ...crd.metadata,
      uid: uidOf(crd.metadata.name),
      resourceVersion: String(BUILT_IN_REVISION),
      generation: 1,
      creationTimestamp: time,
    },
    spec: { ...crd.spec, conversion: { strategy: 'None' } },
    status: { conditions, acceptedNames: names, storedVersions },
  };
}

/** The same uid at every start and on every node, in the form of RFC 9562 section 5.8. */
function uidOf(name: string): string {
  const hex = createHash('sha256').update(name).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
