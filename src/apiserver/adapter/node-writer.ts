/** Writes NodeMaintenance objects for the adapter as the API would: validated, with owners of fields, on the newest state. */
import type { NodeMaintenance } from '../../api/gen/types.ts';
import type { KubeObject } from '../../api/meta.ts';
import type { Clock } from '../../lib/clock.ts';
import { rfc3339 } from '../../lib/clock.ts';
import type { Resource } from '../registry/resources.ts';
import { prepareCreate, prepareUpdate } from '../registry/strategy.ts';
import { trackUpdate } from '../ssa/track.ts';
import type { ObjectStore } from '../store/store.ts';

/** What it writes with. */
export interface NodeWriterDeps {
  store: ObjectStore;
  resource: Resource;
  clock: Clock;
}

/** Reads and writes the objects of nodes. */
export interface NodeWriter {
  get(name: string): NodeMaintenance | undefined;
  list(): NodeMaintenance[];
  /** Stores what `next` makes of the newest state; undefined, or the same object, changes nothing. */
  write(
    name: string,
    next: (current: NodeMaintenance | undefined) => NodeMaintenance | undefined,
  ): Promise<{ object: NodeMaintenance | undefined; isChanged: boolean }>;
}

const MANAGER = 'edge-adapter';

/** Creates a writer over a store. */
export function createNodeWriter({ store, resource, clock }: NodeWriterDeps): NodeWriter {
  const { plural } = resource;

  const prepared = (current: KubeObject | undefined, wanted: NodeMaintenance): KubeObject => {
    const now = clock.wallNow();
    const base = { schema: resource.fieldSchema, given: undefined, time: rfc3339(now) };
    const writer = (subresource: string) => ({
      manager: MANAGER,
      operation: 'Update' as const,
      apiVersion: resource.apiVersion,
      subresource,
    });
    const incoming: KubeObject = { ...wanted };
    const main =
      current === undefined
        ? prepareCreate(resource, incoming, now)
        : prepareUpdate(resource, current, incoming, undefined);
    const tracked = trackUpdate({ ...base, current, next: main, writer: writer('') });
    const next = prepareUpdate(resource, tracked, incoming, 'status');
    return trackUpdate({ ...base, current: tracked, next, writer: writer('status') });
  };

  return {
    get: (name) => store.get(plural, name)?.object as NodeMaintenance | undefined,
    list: () => store.list(plural).map(({ object }) => object as NodeMaintenance),
    async write(name, next) {
      const { stored, changed } = await store.write(plural, name, (before) => {
        const wanted = next(before?.object as NodeMaintenance | undefined);
        if (wanted === undefined) return { action: 'keep' };
        const object = prepared(before?.object, wanted);
        return object === before?.object ? { action: 'keep' } : { action: 'put', object };
      });
      return { object: stored?.object as NodeMaintenance | undefined, isChanged: changed !== undefined };
    },
  };
}
