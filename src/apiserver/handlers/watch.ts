/** watch: checks the parameters, sends the headers at once, and hands the socket to a WatchStream. */
import { NAME_FIELD } from '../../api/selectors.ts';
import type { FieldRequirement } from '../../api/selectors.ts';
import { expired, statusError } from '../../api/status.ts';
import type { StatusCause } from '../../api/status.ts';
import { RESPONSE_ALREADY_SENT } from '../../lib/http.ts';
import type { Call } from './context.ts';
import { negotiate } from './negotiation.ts';
import {
  invalidOptions,
  readBoolean,
  readInteger,
  readRevision,
  readSelectors,
  tooLargeRevision,
} from './parameters.ts';
import { readRowObject } from './respond.ts';
import { objectEvents, partialEvents, tableEvents } from './watch-events.ts';
import { WatchStream } from './watch-stream.ts';
import type { WatchOptions } from './watch-stream.ts';

/** Watches without a timeout end after 30 to 60 minutes, spread so that they do not all come back together. */
const DEFAULT_TIMEOUT_MS = 30 * 60_000;
/** setTimeout's own limit; longer watches than 24 days do not exist. */
const MAX_TIMEOUT_MS = 2 ** 31 - 1;

function checkInitialEvents(call: Call): boolean | undefined {
  const { c } = call;
  const sendInitialEvents = readBoolean(c, 'sendInitialEvents');
  const match = c.req.query('resourceVersionMatch') ?? '';
  const causes: StatusCause[] = [];
  if (sendInitialEvents === undefined && match !== '') {
    causes.push({
      reason: 'FieldValueForbidden',
      message: 'Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
      field: 'resourceVersionMatch',
    });
  } else if (sendInitialEvents !== undefined && match === '') {
    causes.push({
      reason: 'FieldValueForbidden',
      message: 'Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
      field: 'resourceVersionMatch',
    });
  } else if (sendInitialEvents !== undefined && match !== 'NotOlderThan') {
    causes.push({
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(match)}: supported values: "NotOlderThan"`,
      field: 'resourceVersionMatch',
    });
  }
  if (causes.length > 0) throw invalidOptions('ListOptions', causes);
  return sendInitialEvents;
}

function readTimeoutMs(call: Call): number {
  const seconds = readInteger(call.c, 'timeoutSeconds') ?? 0;
  if (seconds > 0) return Math.min(seconds * 1000, MAX_TIMEOUT_MS);
  return DEFAULT_TIMEOUT_MS * (1 + call.deps.random());
}

function nameIs(name: string): FieldRequirement {
  return { field: NAME_FIELD, isEqual: true, value: name };
}

/** GET of a collection with `watch`. `only` narrows it to one name (the old /watch/ paths). */
export function watchObjects(call: Call, only?: string): Response {
  const { c, deps, resource } = call;
  const form = negotiate(c.req.header('accept'), ['object', 'table', 'partial'], { isStream: true });
  const sendInitialEvents = checkInitialEvents(call);
  const revision = readRevision(c);
  const hasBookmarks = readBoolean(c, 'allowWatchBookmarks') === true;
  const selectors = readSelectors(c, resource);
  if (sendInitialEvents === true && revision !== undefined && revision > deps.store.revision)
    throw tooLargeRevision(revision, deps.store.revision);
  const startsWithAll = sendInitialEvents ?? (revision === undefined || revision === 0);
  const options: WatchOptions = {
    resource: resource.plural,
    selectors: only === undefined ? selectors : { ...selectors, fields: [...selectors.fields, nameIs(only)] },
    since: startsWithAll ? undefined : (revision ?? deps.store.revision),
    marksInitialEnd: sendInitialEvents === true && hasBookmarks,
    hasBookmarks,
    timeoutMs: readTimeoutMs(call),
  };
  if (options.since !== undefined && options.since !== 0 && options.since < deps.store.floor) {
    throw expired(`too old resource version: ${options.since} (${deps.store.floor})`);
  }
  const encoder =
    form.shape === 'table'
      ? tableEvents(resource, {
          rowObject: readRowObject(call),
          apiVersion: form.metaVersion,
          clock: deps.clock,
        })
      : form.shape === 'partial'
        ? partialEvents(form.metaVersion)
        : objectEvents(resource);
  const { incoming, outgoing } = c.env;
  if (outgoing === undefined) throw new Error('a watch needs a connection');
  if (deps.watches.isFull) {
    throw statusError('TooManyRequests', 'too many watches are open', { retryAfterSeconds: 1 });
  }
  incoming?.socket.setTimeout(0);
  incoming?.socket.setNoDelay(true);
  outgoing.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
  outgoing.flushHeaders();
  deps.metrics.watchers.inc();
  const stream = new WatchStream(outgoing, options, {
    store: deps.store,
    encoder,
    clock: deps.clock,
    onEnd(reason) {
      // deferred, because a watch can end while it is being constructed
      queueMicrotask(() => deps.watches.remove(stream));
      deps.metrics.watchers.dec();
      deps.metrics.watchesEnded.inc({ reason });
    },
  });
  deps.watches.add(stream);
  return RESPONSE_ALREADY_SENT;
}
