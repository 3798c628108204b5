/** The patch of a client-side apply: what the file changed since it was last applied, as a JSON merge patch; pure. */
import { isDeepStrictEqual } from 'node:util';
import type { KubeObject } from '../../api/meta.ts';
import { sortKeys } from './printers/sort-keys.ts';

/** Holds the file as it was last applied, for the next apply to see what was dropped from it. */
export const LAST_APPLIED_ANNOTATION = 'kubectl.kubernetes.io/last-applied-configuration';

type Json = Record<string, unknown>;

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The object with the annotation that records it, as kubectl writes it. */
export function withLastApplied(object: KubeObject): KubeObject {
  const { [LAST_APPLIED_ANNOTATION]: _previous, ...annotations } = object.metadata.annotations ?? {};
  const recorded = { ...object, metadata: { ...object.metadata, annotations } };
  const text = `${JSON.stringify(sortKeys(recorded))}\n`;
  return {
    ...object,
    metadata: { ...object.metadata, annotations: { ...annotations, [LAST_APPLIED_ANNOTATION]: text } },
  };
}

/** What the object's annotation recorded; undefined when there is none, or none that can be read. */
export function lastApplied(live: KubeObject): KubeObject | undefined {
  try {
    const value: unknown = JSON.parse(live.metadata.annotations?.[LAST_APPLIED_ANNOTATION] ?? '');
    return isObject(value) ? (value as unknown as KubeObject) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The merge patch (RFC 7386) that brings `live` to `modified`: everything `modified` says otherwise, and null for
 * what `original` had and `modified` has not. Empty when there is nothing to do.
 */
export function threeWayPatch(
  original: KubeObject | undefined,
  modified: KubeObject,
  live: KubeObject,
): Json {
  const changes = additions(live as unknown as Json, modified as unknown as Json);
  if (original === undefined) return changes;
  return merge(
    changes,
    removals(original as unknown as Json, modified as unknown as Json, live as unknown as Json),
  );
}

function additions(live: Json, modified: Json): Json {
  const patch: Json = {};
  for (const [key, wanted] of Object.entries(modified)) {
    const actual = live[key];
    if (wanted === null || isDeepStrictEqual(wanted, actual)) continue;
    if (isObject(wanted) && isObject(actual)) {
      const inner = additions(actual, wanted);
      if (Object.keys(inner).length > 0) patch[key] = inner;
    } else patch[key] = wanted;
  }
  return patch;
}

function removals(original: Json, modified: Json, live: Json): Json {
  const patch: Json = {};
  for (const [key, before] of Object.entries(original)) {
    const wanted = modified[key];
    const actual = live[key];
    if (wanted === undefined || wanted === null) {
      if (actual !== undefined) patch[key] = null;
    } else if (isObject(before) && isObject(wanted) && isObject(actual)) {
      const inner = removals(before, wanted, actual);
      if (Object.keys(inner).length > 0) patch[key] = inner;
    }
  }
  return patch;
}

function merge(a: Json, b: Json): Json {
  const out: Json = { ...a };
  for (const [key, value] of Object.entries(b)) {
    const existing = out[key];
    out[key] = isObject(existing) && isObject(value) ? merge(existing, value) : value;
  }
  return out;
}
