/**
 * The few resources of the core group that clients ask of any server: one namespace, and no events and no services, so
 * that `kubectl get events`, `kubectl events`, `kubectl cluster-info` and `kubectl get namespaces` have an answer.
 */
import type { PrinterColumn } from '../../api/crd.ts';
import { rfc3339 } from '../../lib/clock.ts';
import type { ObjectStore } from '../store/store.ts';
import { createResource } from './resources.ts';
import type { Resource } from './resources.ts';
import { BUILT_IN_REVISION, createStaticStore } from './static-store.ts';

const AGE: PrinterColumn = { name: 'Age', type: 'date', jsonPath: '.metadata.creationTimestamp' };

function coreResource(
  kind: string,
  options: {
    scope: 'Cluster' | 'Namespaced';
    shortNames: string[];
    columns: PrinterColumn[];
    selectableFields?: string[];
  },
): Resource {
  const singular = kind.toLowerCase();
  const { scope, shortNames, columns, selectableFields = [] } = options;
  return createResource(
    {
      apiVersion: 'v1',
      kind: 'CustomResourceDefinition',
      metadata: { name: `${singular}s` },
      spec: {
        group: '',
        scope,
        names: { kind, listKind: `${kind}List`, plural: `${singular}s`, singular, shortNames },
        versions: [
          {
            name: 'v1',
            served: true,
            storage: true,
            additionalPrinterColumns: columns,
            schema: { openAPIV3Schema: { type: 'object' } },
          },
        ],
      },
    },
    { isReadOnly: true, selectableFields },
  );
}

/** The fields of an Event that kubectl selects by (core/v1 event strategy). */
const EVENT_FIELDS = [
  ...['kind', 'namespace', 'name', 'uid', 'apiVersion', 'resourceVersion', 'fieldPath'].map(
    (field) => `involvedObject.${field}`,
  ),
  'reason',
  'reportingComponent',
  'source',
  'type',
];

/** The resources, none of which can be written. */
export const coreResources: readonly Resource[] = [
  coreResource('Event', {
    scope: 'Namespaced',
    shortNames: ['ev'],
    columns: [
      { name: 'Last Seen', type: 'date', jsonPath: '.lastTimestamp' },
      { name: 'Type', type: 'string', jsonPath: '.type' },
      { name: 'Reason', type: 'string', jsonPath: '.reason' },
      { name: 'Object', type: 'string', jsonPath: '.involvedObject.name' },
      { name: 'Message', type: 'string', jsonPath: '.message' },
    ],
    selectableFields: EVENT_FIELDS,
  }),
  coreResource('Namespace', {
    scope: 'Cluster',
    shortNames: ['ns'],
    columns: [{ name: 'Status', type: 'string', jsonPath: '.status.phase' }, AGE],
    selectableFields: ['status.phase'],
  }),
  coreResource('Service', {
    scope: 'Namespaced',
    shortNames: ['svc'],
    columns: [
      { name: 'Type', type: 'string', jsonPath: '.spec.type' },
      { name: 'Cluster-IP', type: 'string', jsonPath: '.spec.clusterIP' },
      AGE,
    ],
    selectableFields: ['spec.clusterIP', 'spec.type'],
  }),
];

/** The uid of the namespace, the same on every node, in the form of RFC 9562 section 5.8. */
const DEFAULT_UID = '64656661-756c-8400-8000-000000000000';

/** A store of them that never changes: the namespace `default`, which clients without another one name. */
export function createCoreStore(since: Date): ObjectStore {
  const namespace = {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name: 'default',
      uid: DEFAULT_UID,
      resourceVersion: String(BUILT_IN_REVISION),
      creationTimestamp: rfc3339(since),
      labels: { 'kubernetes.io/metadata.name': 'default' },
    },
    spec: { finalizers: ['kubernetes'] },
    status: { phase: 'Active' },
  };
  return createStaticStore({ namespaces: [namespace] });
}
