/** Watch events as lines: made once a change and shared by all watchers that want the same form. */
import type { KubeObject } from '../../api/meta.ts';
import type { Status } from '../../api/status.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Resource } from '../registry/resources.ts';
import type { ChangeType, StoredObject } from '../store/store.ts';
import { createTable, partialObject } from './table.ts';
import type { RowObject } from './table.ts';

/** Turns events of one resource into lines of one form. */
export interface EventEncoder {
  event(type: ChangeType, stored: StoredObject): Uint8Array | string;
  bookmark(revision: number, isInitialEnd: boolean): string;
  error(status: Status): string;
}

/** Lines of a state, by form and event type; they go when the state goes. */
const lines = new WeakMap<StoredObject, Map<string, Buffer>>();

function shared(stored: StoredObject, key: string, make: () => string): Buffer {
  let byKey = lines.get(stored);
  if (byKey === undefined) lines.set(stored, (byKey = new Map()));
  let line = byKey.get(key);
  if (line === undefined) byKey.set(key, (line = Buffer.from(make())));
  return line;
}

function bookmarkMetadata(revision: number, isInitialEnd: boolean): Record<string, unknown> {
  return {
    resourceVersion: String(revision),
    ...(isInitialEnd ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {}),
  };
}

const error = (status: Status): string => `${JSON.stringify({ type: 'ERROR', object: status })}\n`;

/** Whole objects. */
export function objectEvents(resource: Resource): EventEncoder {
  const { kind, apiVersion } = resource;
  return {
    event: (type, stored) => shared(stored, type, () => `{"type":"${type}","object":${stored.json}}\n`),
    bookmark: (revision, isInitialEnd) =>
      `${JSON.stringify({ type: 'BOOKMARK', object: { kind, apiVersion, metadata: bookmarkMetadata(revision, isInitialEnd) } })}\n`,
    error,
  };
}

/** Metadata only. */
export function partialEvents(apiVersion: string): EventEncoder {
  return {
    event: (type, stored) =>
      shared(
        stored,
        `${apiVersion} ${type}`,
        () => `${JSON.stringify({ type, object: partialObject(stored.object, apiVersion) })}\n`,
      ),
    bookmark(revision, isInitialEnd) {
      const metadata = bookmarkMetadata(revision, isInitialEnd);
      return `${JSON.stringify({ type: 'BOOKMARK', object: { kind: 'PartialObjectMetadata', apiVersion, metadata } })}\n`;
    },
    error,
  };
}

/** Tables of one row; the first has the column definitions. Ages differ from event to event, so nothing is shared. */
export function tableEvents(
  resource: Resource,
  options: { rowObject: RowObject; apiVersion: string; clock: Clock },
): EventEncoder {
  const { clock, ...form } = options;
  let hasColumns = true;
  const table = (objects: readonly KubeObject[], metadata: Record<string, unknown>): unknown => {
    const made = createTable(resource, objects, { ...form, metadata, now: clock.wallNow(), hasColumns });
    hasColumns = false;
    return made;
  };
  return {
    event: (type, stored) =>
      `${JSON.stringify({ type, object: table([stored.object], { resourceVersion: String(stored.revision) }) })}\n`,
    bookmark: (revision, isInitialEnd) =>
      `${JSON.stringify({ type: 'BOOKMARK', object: table([], bookmarkMetadata(revision, isInitialEnd)) })}\n`,
    error,
  };
}
