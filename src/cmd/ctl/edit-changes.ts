/** What an edit changes, and whether somebody else changed the same meanwhile; pure. */
import { isDeepStrictEqual } from 'node:util';
import type { KubeObject } from '../../api/meta.ts';
import { threeWayPatch } from './three-way.ts';

/** A merge patch (RFC 7386). */
export type MergePatch = Record<string, unknown>;

function isObject(value: unknown): value is MergePatch {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The object as it is edited: without what the server alone keeps and nobody reads. */
export function editable(object: KubeObject): KubeObject {
  const { managedFields: _owners, ...metadata } = object.metadata;
  return { ...object, metadata };
}

/** The patch that turns one state into another. */
export function changesOf(before: KubeObject, after: KubeObject): MergePatch {
  return threeWayPatch(before, after, before);
}

/** The same without what moves by itself: versions, and of an edit of the main part the status. */
export function foreignChanges(
  before: KubeObject,
  now: KubeObject,
  subresource: string | undefined,
): MergePatch {
  const settled = (object: KubeObject): KubeObject => {
    const { resourceVersion: _version, generation: _generation, ...metadata } = object.metadata;
    const { spec, status, ...rest } = object;
    return { ...rest, metadata, ...(subresource === 'status' ? { status } : { spec }) };
  };
  return changesOf(settled(before), settled(now));
}

/** The fields that two patches set differently: `spec.frps.bindPort`. */
export function overlap(mine: unknown, theirs: unknown, path = ''): string[] {
  if (mine === undefined || theirs === undefined || isDeepStrictEqual(mine, theirs)) return [];
  if (!isObject(mine) || !isObject(theirs)) return [path];
  return Object.keys(mine).flatMap((key) =>
    overlap(mine[key], theirs[key], path === '' ? key : `${path}.${key}`),
  );
}

/** A state with a patch applied. */
export function patched<T>(target: T, patch: MergePatch): T {
  const out: MergePatch = { ...(isObject(target) ? target : {}) };
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete out[key];
    else out[key] = isObject(value) ? patched(out[key], value) : value;
  }
  return out as T;
}

/** Why an edited object is no longer the one that was opened; undefined when it is. */
export function identityProblem(opened: KubeObject, edited: unknown): string | undefined {
  if (!isObject(edited)) return 'the file does not hold one object';
  const metadata = isObject(edited['metadata']) ? edited['metadata'] : {};
  const isSame =
    edited['apiVersion'] === opened.apiVersion &&
    edited['kind'] === opened.kind &&
    metadata['name'] === opened.metadata.name;
  return isSame ? undefined : 'apiVersion, kind and name cannot be changed';
}
