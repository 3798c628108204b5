/** delete and deletecollection: preconditions, finalizers, dry run; options in the body or the query. */
import { notFound } from '../../api/status.ts';
import { markDeleted } from '../registry/strategy.ts';
import type { Mutation, StoredObject } from '../store/store.ts';
import type { Call } from './context.ts';
import { readDeleteOptions } from './delete-options.ts';
import type { DeleteOptions } from './delete-options.ts';
import { negotiate } from './negotiation.ts';
import { selectPage } from './read.ts';
import { doneResponse, listResponse, objectResponse } from './respond.ts';
import { preconditionFailed } from './write.ts';

/** Removals of a collection that are queued at once: a batch of the store, and far from its limit. */
const CONCURRENT_REMOVALS = 256;

interface Removal {
  stored: StoredObject;
  /** Gone, rather than waiting for finalizers. */
  isRemoved: boolean;
}

async function removeObject(call: Call, name: string, options: DeleteOptions): Promise<Removal | undefined> {
  const { resource, deps } = call;
  let before: StoredObject | undefined;
  let isRemoved = true;
  const result = await deps.store.write(resource.plural, name, (stored): Mutation => {
    if (stored === undefined) return { action: 'keep' };
    before = stored;
    const current = stored.object;
    call.guard(current, undefined);
    const { uid, resourceVersion } = current.metadata;
    if (options.uid !== undefined && options.uid !== uid) {
      throw preconditionFailed(
        call,
        name,
        `the UID in the precondition (${options.uid}) does not match the UID in record (${uid ?? ''}). The object might have been deleted and then recreated`,
      );
    }
    if (options.resourceVersion !== undefined && options.resourceVersion !== resourceVersion) {
      throw preconditionFailed(
        call,
        name,
        `the ResourceVersion in the precondition (${options.resourceVersion}) does not match the ResourceVersion in record (${resourceVersion ?? ''}). The object might have been modified`,
      );
    }
    if ((current.metadata.finalizers ?? []).length === 0)
      return options.dryRun ? { action: 'keep' } : { action: 'delete' };
    isRemoved = false;
    if (options.dryRun || current.metadata.deletionTimestamp !== undefined) return { action: 'keep' };
    return { action: 'put', object: markDeleted(current, deps.clock.wallNow()) };
  });
  if (before === undefined) return undefined;
  return { stored: result.stored ?? before, isRemoved };
}

/** DELETE of one object. */
export async function deleteObject(call: Call, name: string): Promise<Response> {
  const { c, resource } = call;
  const form = negotiate(c.req.header('accept'), ['object', 'table', 'partial']);
  const options = await readDeleteOptions(call);
  c.env.facts.dryRun = options.dryRun;
  const removal = await removeObject(call, name, options);
  if (removal === undefined) throw notFound(resource, name);
  const { stored, isRemoved } = removal;
  if (!isRemoved) return objectResponse(call, form, 200, stored);
  const uid = stored.object.metadata.uid ?? '';
  return doneResponse(form, { name, group: resource.group, kind: resource.plural, uid });
}

/** DELETE of a collection: the selected objects one by one; the answer lists them. */
export async function deleteCollection(call: Call): Promise<Response> {
  const { c } = call;
  const form = negotiate(c.req.header('accept'), ['object', 'table', 'partialList']);
  const { items, metadata } = selectPage(call);
  const options = await readDeleteOptions(call);
  c.env.facts.dryRun = options.dryRun;
  const removed: StoredObject[] = [];
  for (let at = 0; at < items.length; at += CONCURRENT_REMOVALS) {
    const chunk = items.slice(at, at + CONCURRENT_REMOVALS);
    const removals = await Promise.all(chunk.map((stored) => removeObject(call, stored.name, options)));
    for (const removal of removals) if (removal !== undefined) removed.push(removal.stored);
  }
  return listResponse(call, form, removed, metadata);
}
