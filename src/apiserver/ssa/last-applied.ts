/** The annotation of client-side apply, and what it allows to the apply that follows it (kubectl's move to server side). */
import type { JsonSchema } from '../../api/crd.ts';
import { compareFields, fieldsOf } from './compare.ts';
import { FieldSet } from './field-set.ts';
import { isRecord } from '../../lib/json.ts';

/** Where kubectl's client-side apply keeps the manifest. */
export const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';
/** The manager that takes over from client-side apply; other names opt out. */
export const LAST_APPLIED_MANAGER = 'kubectl';
/** Of all annotations together, bytes; the same limit that validation has. */
const MAX_ANNOTATION_BYTES = 262_144;

function annotationsOf(object: unknown): Record<string, unknown> {
  const metadata = isRecord(object) ? object['metadata'] : undefined;
  const annotations = isRecord(metadata) ? metadata['annotations'] : undefined;
  return isRecord(annotations) ? annotations : {};
}

/** The annotation of an object; undefined when it is absent or empty. */
export function lastApplied(object: unknown): string | undefined {
  const text = annotationsOf(object)[LAST_APPLIED];
  return typeof text === 'string' && text !== '' ? text : undefined;
}

/** The fields that the annotation has with the value that the live object still has: nobody changed them since. */
export function unchangedSinceLastApplied(schema: JsonSchema, live: unknown): FieldSet {
  let manifest: unknown;
  try {
    manifest = JSON.parse(lastApplied(live) ?? '');
  } catch {
    return FieldSet.of(); // not ours: it allows nothing
  }
  if (!isRecord(manifest)) return FieldSet.of();
  const { added, modified, removed } = compareFields(schema, manifest, live);
  return fieldsOf(schema, manifest).difference(added).difference(modified).difference(removed);
}

/** Writes what was applied into the annotation of `object`, in place; drops it where it would be too long. */
export function recordLastApplied(object: Record<string, unknown>, config: Record<string, unknown>): void {
  const metadata = isRecord(object['metadata']) ? object['metadata'] : {};
  const { [LAST_APPLIED]: _old, ...others } = annotationsOf(object);
  const annotations: Record<string, unknown> = { ...others, [LAST_APPLIED]: `${manifestText(config)}\n` };
  const bytes = Object.entries(annotations).reduce(
    (sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(String(value)),
    0,
  );
  if (bytes > MAX_ANNOTATION_BYTES) delete annotations[LAST_APPLIED];
  object['metadata'] = { ...metadata, annotations };
}

/** JSON as the reference writes it: sorted members, and `<`, `>` and `&` escaped. */
function manifestText(config: Record<string, unknown>): string {
  const metadata = isRecord(config['metadata']) ? config['metadata'] : {};
  const { [LAST_APPLIED]: _old, ...annotations } = annotationsOf(config);
  const manifest = {
    ...config,
    metadata: { ...metadata, ...('annotations' in metadata ? { annotations } : {}) },
  };
  return JSON.stringify(sorted(manifest)).replaceAll(
    /[<>&]/gu,
    (letter) => `\\u00${letter.charCodeAt(0).toString(16)}`,
  );
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((entry) => sorted(entry));
  if (!isRecord(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, entry]) => [key, sorted(entry)]),
  );
}
