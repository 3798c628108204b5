/** What Kubernetes demands of the metadata that clients set, and of what they may not change. Every problem is named. */
import type { ObjectMeta, OwnerReference } from '../../api/meta.ts';
import { labelValueProblems, qualifiedNameProblems, subdomainProblems } from '../../api/names.ts';
import type { StatusCause } from '../../api/status.ts';

/** Of all keys and values together, bytes. */
const MAX_ANNOTATION_BYTES = 262_144;
/** Finalizers of the reference's garbage collector, which exclude each other. */
const COLLECTORS = ['orphan', 'foregroundDeletion'] as const;

function invalidValue(field: string, value: unknown, why: string): StatusCause {
  return {
    reason: 'FieldValueInvalid',
    message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
    field,
  };
}

function required(field: string, why: string): StatusCause {
  return { reason: 'FieldValueRequired', message: `Required value: ${why}`, field };
}

/**
 * All problems of the metadata that clients set. Fields that are those of `stored`, not equal but the same, were looked at when
 * they were stored.
 */
export function validateMetadata(metadata: ObjectMeta, stored: ObjectMeta = {}): StatusCause[] {
  const { name = '', generateName = '', labels, annotations, finalizers, ownerReferences } = metadata;
  const causes: StatusCause[] = [];
  if (generateName !== '' && generateName !== stored.generateName)
    // what is generated after it may follow a dash
    addProblems(
      causes,
      'metadata.generateName',
      generateName,
      subdomainProblems(generateName.replace(/-$/u, 'a')),
    );
  if (name === '') causes.push(required('metadata.name', 'name or generateName is required'));
  else if (name !== stored.name) addProblems(causes, 'metadata.name', name, subdomainProblems(name));
  if (labels !== undefined && labels !== stored.labels) addLabelProblems(causes, labels);
  if (annotations !== undefined && annotations !== stored.annotations)
    addAnnotationProblems(causes, annotations);
  if (finalizers !== undefined && finalizers !== stored.finalizers) addFinalizerProblems(causes, finalizers);
  if (ownerReferences !== undefined && ownerReferences !== stored.ownerReferences)
    causes.push(...ownerProblems(ownerReferences));
  return causes;
}

function addProblems(causes: StatusCause[], field: string, value: string, problems: readonly string[]): void {
  for (const problem of problems) causes.push(invalidValue(field, value, problem));
}

function addLabelProblems(causes: StatusCause[], labels: Readonly<Record<string, string>>): void {
  for (const [key, value] of Object.entries(labels)) {
    addProblems(causes, 'metadata.labels', key, qualifiedNameProblems(key));
    addProblems(causes, 'metadata.labels', value, labelValueProblems(value));
  }
}

function addAnnotationProblems(causes: StatusCause[], annotations: Readonly<Record<string, string>>): void {
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations)) {
    addProblems(causes, 'metadata.annotations', key, qualifiedNameProblems(key.toLowerCase()));
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (bytes <= MAX_ANNOTATION_BYTES) return;
  causes.push({
    reason: 'FieldValueTooLong',
    message: `Too long: may not be more than ${MAX_ANNOTATION_BYTES} bytes`,
    field: 'metadata.annotations',
  });
}

function addFinalizerProblems(causes: StatusCause[], finalizers: readonly string[]): void {
  for (const finalizer of finalizers)
    addProblems(causes, 'metadata.finalizers', finalizer, qualifiedNameProblems(finalizer));
  if (COLLECTORS.every((collector) => finalizers.includes(collector))) {
    const why = `finalizer ${COLLECTORS.join(' and ')} cannot be both set`;
    causes.push(invalidValue('metadata.finalizers', finalizers, why));
  }
}

/** Finalizers that the reference's own controllers release. */
const STANDARD_FINALIZERS: ReadonlySet<string> = new Set([...COLLECTORS, 'kubernetes']);

/** What is unwise about the finalizers that a write adds, in the words of the reference. */
export function finalizerWarnings(current: ObjectMeta | undefined, next: ObjectMeta): string[] {
  if (next.finalizers === undefined) return [];
  const added = next.finalizers.filter((name) => current?.finalizers?.includes(name) !== true);
  return [...new Set(added)]
    .sort()
    .filter((name) => !name.includes('/') && !STANDARD_FINALIZERS.has(name))
    .map((name) => {
      const form = name.includes('.') ? 'name including a path (/)' : 'name';
      return `metadata.finalizers: ${JSON.stringify(name)}: prefer a domain-qualified finalizer ${form} to avoid accidental conflicts with other finalizer writers`;
    });
}

function ownerProblems(owners: readonly OwnerReference[]): StatusCause[] {
  const causes: StatusCause[] = [];
  for (const [at, owner] of owners.entries()) {
    const field = `metadata.ownerReferences[${at}]`;
    for (const key of ['apiVersion', 'kind', 'name', 'uid'] as const) {
      if ((owner[key] ?? '') === '') causes.push(required(`${field}.${key}`, 'must not be empty'));
    }
    if ((owner.apiVersion ?? '').split('/').length > 2)
      causes.push(
        invalidValue(`${field}.apiVersion`, owner.apiVersion, 'must be <group>/<version> or <version>'),
      );
    if (owner.apiVersion === 'v1' && owner.kind === 'Event')
      causes.push(invalidValue(field, owner, '/v1, Kind=Event is disallowed from being an owner'));
  }
  const [first, second] = owners.filter(({ controller }) => controller === true);
  if (first !== undefined && second !== undefined) {
    const named = [first, second].map(({ kind, name }) => `${kind}/${name}`).join(' and ');
    causes.push(
      invalidValue(
        'metadata.ownerReferences',
        owners,
        `Only one reference can have Controller set to true. Found "true" in references for ${named}`,
      ),
    );
  }
  return causes;
}

/** What a write may not change: when an object is deleted is for a delete to say, and who is gone gets no new finalizers. */
export function validateMetadataChange(current: ObjectMeta, given: ObjectMeta): StatusCause[] {
  const causes: StatusCause[] = [];
  const { deletionTimestamp, deletionGracePeriodSeconds, finalizers = [] } = given;
  if (deletionTimestamp !== undefined && current.deletionTimestamp === undefined)
    causes.push(invalidValue('metadata.deletionTimestamp', deletionTimestamp, 'field is immutable'));
  if (
    deletionGracePeriodSeconds !== undefined &&
    deletionGracePeriodSeconds !== current.deletionGracePeriodSeconds
  ) {
    causes.push(
      invalidValue('metadata.deletionGracePeriodSeconds', deletionGracePeriodSeconds, 'field is immutable'),
    );
  }
  const added = finalizers.filter((entry) => current.finalizers?.includes(entry) !== true);
  if (current.deletionTimestamp !== undefined && added.length > 0) {
    const listed = added.map((entry) => JSON.stringify(entry)).join(', ');
    causes.push({
      reason: 'FieldValueForbidden',
      message: `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{${listed}}`,
      field: 'metadata.finalizers',
    });
  }
  return causes;
}
