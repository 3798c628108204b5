/** delete and deletecollection: preconditions, finalizers, dry run; options in the body or the query. */
import { badRequest, notFound } from '../../api/status.ts';
import type { Status, StatusCause } from '../../api/status.ts';
import { markDeleted } from '../registry/strategy.ts';
import type { Mutation, StoredObject } from '../store/store.ts';
import { contentType, decodeJson, decodeYaml, readBody, unsupportedMediaType } from './body.ts';
import type { Call } from './context.ts';
import { negotiate } from './negotiation.ts';
import { invalidOptions, readDryRun } from './parameters.ts';
import { selectPage } from './read.ts';
import { jsonResponse, listResponse, objectResponse } from './respond.ts';
import { preconditionFailed } from './write.ts';

interface DeleteOptions {
  dryRun: boolean;
  uid: string | undefined;
  resourceVersion: string | undefined;
}

/** Removals of a collection that are queued at once: a batch of the store, and far from its limit. */
const CONCURRENT_REMOVALS = 256;

const POLICIES = ['Background', 'Foreground', 'Orphan'];

/** Reads DeleteOptions; the body wins over the query. There is no garbage collector, so policies change nothing. */
async function readDeleteOptions(call: Call): Promise<DeleteOptions> {
  const { c } = call;
  const bytes = await readBody(c);
  const type = contentType(c);
  let given: Record<string, unknown> = {};
  if (bytes.length > 0) {
    if (type !== 'application/json' && type !== 'application/yaml')
      throw unsupportedMediaType(['application/json', 'application/yaml']);
    const { value } = type === 'application/yaml' ? decodeYaml(bytes) : decodeJson(bytes);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw badRequest('the body of a delete is a DeleteOptions object');
    }
    given = value as Record<string, unknown>;
    if (given['kind'] !== undefined && given['kind'] !== 'DeleteOptions') {
      throw badRequest(`${JSON.stringify(given['kind'])} cannot be handled as a DeleteOptions`);
    }
  }
  const causes: StatusCause[] = [];
  const dryRunValues = Array.isArray(given['dryRun'])
    ? given['dryRun'].map(String)
    : (c.req.queries('dryRun') ?? []);
  const dryRun = readDryRun(dryRunValues, causes);
  const policy = given['propagationPolicy'] ?? c.req.query('propagationPolicy');
  const orphan = given['orphanDependents'] ?? c.req.query('orphanDependents');
  if (policy !== undefined && policy !== '' && (typeof policy !== 'string' || !POLICIES.includes(policy))) {
    causes.push({
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(policy)}: supported values: ${POLICIES.map((entry) => JSON.stringify(entry)).join(', ')}`,
      field: 'propagationPolicy',
    });
  } else if (policy !== undefined && policy !== '' && orphan !== undefined) {
    causes.push({
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(policy)}: orphanDependents and deletionPropagation cannot be both set`,
      field: 'propagationPolicy',
    });
  }
  if (causes.length > 0) throw invalidOptions('DeleteOptions', causes);
  const preconditions = (given['preconditions'] ?? {}) as Record<string, unknown>;
  const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);
  return { dryRun, uid: text(preconditions['uid']), resourceVersion: text(preconditions['resourceVersion']) };
}

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
  const form = negotiate(c.req.header('accept'), ['json', 'table', 'partial', 'yaml']);
  const options = await readDeleteOptions(call);
  c.set('dryRun', options.dryRun);
  const removal = await removeObject(call, name, options);
  if (removal === undefined) throw notFound(resource, name);
  const { stored, isRemoved } = removal;
  if (!isRemoved) return objectResponse(call, form, 200, stored);
  const uid = stored.object.metadata.uid ?? '';
  const status: Status = {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { name, group: resource.group, kind: resource.plural, uid },
  };
  return jsonResponse(status);
}

/** DELETE of a collection: the selected objects one by one; the answer lists them. */
export async function deleteCollection(call: Call): Promise<Response> {
  const { c } = call;
  const form = negotiate(c.req.header('accept'), ['json', 'table', 'partialList', 'yaml']);
  const { items, metadata } = selectPage(call);
  const options = await readDeleteOptions(call);
  c.set('dryRun', options.dryRun);
  const removed: StoredObject[] = [];
  for (let at = 0; at < items.length; at += CONCURRENT_REMOVALS) {
    const chunk = items.slice(at, at + CONCURRENT_REMOVALS);
    const removals = await Promise.all(chunk.map((stored) => removeObject(call, stored.name, options)));
    for (const removal of removals) if (removal !== undefined) removed.push(removal.stored);
  }
  return listResponse(call, form, removed, metadata);
}
