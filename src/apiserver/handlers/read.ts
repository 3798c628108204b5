/** get and list: reads of committed state, with selectors, paging and resourceVersion rules. */
import { matches } from '../../api/selectors.ts';
import { badRequest, expired, notFound } from '../../api/status.ts';
import type { StatusCause } from '../../api/status.ts';
import type { StoredObject } from '../store/store.ts';
import type { Call } from './context.ts';
import { negotiate } from './negotiation.ts';
import { invalidOptions, readInteger, readRevision, readSelectors, tooLargeRevision } from './parameters.ts';
import { listResponse, objectResponse } from './respond.ts';
import { Snapshots } from './snapshots.ts';
import type { ListMetadata } from './respond.ts';

/** GET of one object or its status. */
export function getObject(call: Call, name: string): Response {
  const { c, deps, resource } = call;
  const form = negotiate(c.req.header('accept'), ['object', 'table', 'partial']);
  const wanted = readRevision(c);
  if (wanted !== undefined && wanted > deps.store.revision)
    throw tooLargeRevision(wanted, deps.store.revision);
  const stored = deps.store.get(resource.plural, name);
  if (stored === undefined) throw notFound(resource, name);
  return objectResponse(call, form, 200, stored);
}

/** Where a paged list goes on: after a name, in the state of the first page. */
interface Continuation {
  revision: number;
  after: string;
}

function encodeContinue(continuation: Continuation): string {
  return Buffer.from(JSON.stringify({ v: 1, rv: continuation.revision, after: continuation.after })).toString(
    'base64url',
  );
}

function decodeContinue(token: string): Continuation {
  try {
    const value = JSON.parse(Buffer.from(token, 'base64url').toString()) as Record<string, unknown>;
    const { v, rv, after } = value;
    if (v === 1 && typeof rv === 'number' && Number.isSafeInteger(rv) && typeof after === 'string') {
      return { revision: rv, after };
    }
  } catch {
    // not ours: answered below
  }
  throw badRequest('continue key is not valid: the token was not made by this server');
}

interface ListOptions {
  limit: number;
  continuation: Continuation | undefined;
  /** A revision other than the newest whose state is wanted, and kept. */
  exact: number | undefined;
}

function readListOptions(call: Call): ListOptions {
  const { c, deps, resource } = call;
  const causes: StatusCause[] = [];
  const forbid = (field: string, why: string) =>
    causes.push({ reason: 'FieldValueForbidden', message: `Forbidden: ${why}`, field });
  const wanted = readRevision(c);
  const match = c.req.query('resourceVersionMatch') ?? '';
  const token = c.req.query('continue') ?? '';
  if (c.req.query('sendInitialEvents') !== undefined)
    forbid('sendInitialEvents', 'sendInitialEvents is forbidden for list');
  if (match !== '') {
    if (wanted === undefined)
      forbid('resourceVersionMatch', 'resourceVersionMatch is forbidden unless resourceVersion is provided');
    if (token !== '')
      forbid('resourceVersionMatch', 'resourceVersionMatch is forbidden when continue is provided');
    if (match === 'Exact' && wanted === 0) {
      forbid('resourceVersionMatch', 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
    }
    if (match !== 'Exact' && match !== 'NotOlderThan') {
      causes.push({
        reason: 'FieldValueNotSupported',
        message: `Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan", ""`,
        field: 'resourceVersionMatch',
      });
    }
  }
  if (causes.length > 0) throw invalidOptions('ListOptions', causes);
  if (token !== '' && wanted !== undefined && wanted !== 0) {
    throw badRequest('specifying resource version is not allowed when using continue');
  }
  const { revision } = deps.store;
  if (wanted !== undefined && wanted > revision) throw tooLargeRevision(wanted, revision);
  // besides the newest state those of lists under way are kept; others are gone
  const exact = match === 'Exact' && wanted !== revision ? wanted : undefined;
  if (exact !== undefined && Snapshots.of(deps.store).get(resource.plural, exact) === undefined) {
    throw expired('The resourceVersion for the provided list is too old.');
  }
  const continuation = token === '' ? undefined : decodeContinue(token);
  const snapshots = Snapshots.of(deps.store);
  if (continuation !== undefined && snapshots.get(resource.plural, continuation.revision) === undefined) {
    // evicted, or from before a restart: the client may go on at the newest state
    snapshots.keep(resource.plural, revision, deps.store.list(resource.plural));
    const error = expired('The provided continue parameter is too old to display a consistent list result.');
    error.status.metadata = { continue: encodeContinue({ revision, after: continuation.after }) };
    throw error;
  }
  readInteger(c, 'timeoutSeconds'); // a list takes no time that could be bounded, but a wrong number is an error
  return { limit: Math.max(0, readInteger(c, 'limit') ?? 0), continuation, exact };
}

/** Selected objects, at most `limit` of them, and the metadata that says how to go on. */
export function selectPage(call: Call): { items: readonly StoredObject[]; metadata: ListMetadata } {
  const { c, deps, resource } = call;
  const selectors = readSelectors(c, resource);
  const { limit, continuation, exact } = readListOptions(call);
  const hasSelectors = selectors.labels.length > 0 || selectors.fields.length > 0;
  const revision = continuation?.revision ?? exact ?? deps.store.revision;
  const snapshots = Snapshots.of(deps.store);
  const all = snapshots.get(resource.plural, revision) ?? deps.store.list(resource.plural);
  let items = all;
  if (continuation !== undefined) items = items.filter((stored) => stored.name > continuation.after);
  if (hasSelectors) items = items.filter((stored) => matches(selectors, stored.object));
  const metadata: ListMetadata = { resourceVersion: String(revision) };
  if (limit === 0 || items.length <= limit) return { items, metadata };
  const page = items.slice(0, limit);
  snapshots.keep(resource.plural, revision, all);
  metadata.continue = encodeContinue({ revision, after: page.at(-1)?.name ?? '' });
  if (!hasSelectors) metadata.remainingItemCount = items.length - limit;
  return { items: page, metadata };
}

/** GET of a collection. */
export function listObjects(call: Call): Response | Promise<Response> {
  const form = negotiate(call.c.req.header('accept'), ['object', 'table', 'partialList']);
  const { items, metadata } = selectPage(call);
  return listResponse(call, form, items, metadata);
}
