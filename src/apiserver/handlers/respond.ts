/** Writes answers: objects and lists in the form the client asked for, and every failure as a Status. */
import type { KubeObject } from '../../api/meta.ts';
import { statusError, StatusError } from '../../api/status.ts';
import { errorCode, errorMessage } from '../../lib/errors.ts';
import { formatYaml } from '../../lib/yaml.ts';
import { isOutOfSpace } from '../store/errors.ts';
import { MAX_OBJECT_LENGTH, StoredObject } from '../store/store.ts';
import type { Call } from './context.ts';
import type { AnswerForm } from './negotiation.ts';
import { createTable, partialObject } from './table.ts';
import type { RowObject } from './table.ts';
import { invalidOptions } from './parameters.ts';

/** Warnings sent with one answer; more help nobody. */
const MAX_WARNINGS = 20;
const MAX_WARNING_LENGTH = 256;

/** An answer with a text body. */
export function textResponse(
  body: string | Uint8Array<ArrayBuffer>,
  code: number,
  type: string,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(body, {
    status: code,
    headers: {
      'content-type': type,
      'content-length': String(Buffer.byteLength(body)),
      'cache-control': 'no-cache, private',
      ...headers,
    },
  });
}

/** A JSON answer. */
export function jsonResponse(
  value: unknown,
  code = 200,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return textResponse(JSON.stringify(value), code, 'application/json', headers);
}

/** `299 - "text"` with the text cut to what a header may hold (RFC 9111 5.5, RFC 9110 5.5). */
function warningHeader(text: string): string {
  const safe = text
    .slice(0, MAX_WARNING_LENGTH)
    .replaceAll(/[^\u0020-\u007E]/gu, '?')
    .replaceAll(/["\\]/gu, String.raw`\$&`);
  return `299 - "${safe}"`;
}

function withWarnings(response: Response, call: Call): Response {
  for (const text of call.warnings.slice(0, MAX_WARNINGS))
    response.headers.append('warning', warningHeader(text));
  return response;
}

/** The `includeObject` parameter; throws a 422 Status. */
export function readRowObject(call: Call): RowObject {
  const text = call.c.req.query('includeObject') ?? '';
  if (text === '' || text === 'Metadata') return 'Metadata';
  if (text === 'None' || text === 'Object') return text;
  throw invalidOptions('TableOptions', [
    {
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(text)}: supported values: "Metadata", "None", "Object"`,
      field: 'includeObject',
    },
  ]);
}

/** Answers with one object; `stored` when it came from the store, else a value that was not stored (dry run). */
export function objectResponse(
  call: Call,
  form: AnswerForm,
  code: number,
  source: StoredObject | KubeObject,
): Response {
  const { resource, deps } = call;
  const isStored = source instanceof StoredObject;
  const object = isStored ? source.object : source;
  let response: Response;
  if (form === 'table') {
    const stored = isStored
      ? source
      : new StoredObject(resource.plural, object.metadata.name ?? '', 0, '', object);
    const metadata = { resourceVersion: object.metadata.resourceVersion ?? '' };
    response = jsonResponse(
      createTable(resource, [stored], {
        metadata,
        rowObject: readRowObject(call),
        now: deps.clock.wallNow(),
      }),
      code,
    );
  } else if (form === 'partial') response = jsonResponse(partialObject(object), code);
  else if (form === 'yaml') response = textResponse(formatYaml(object), code, 'application/yaml');
  else response = textResponse(isStored ? source.json : JSON.stringify(source), code, 'application/json');
  return withWarnings(response, call);
}

/** Metadata of a list. */
export interface ListMetadata {
  resourceVersion: string;
  continue?: string;
  remainingItemCount?: number;
}

/** Answers with a list. */
export function listResponse(
  call: Call,
  form: AnswerForm,
  items: readonly StoredObject[],
  metadata: ListMetadata,
): Response {
  const { resource, deps } = call;
  if (form === 'table') {
    const table = createTable(resource, items, {
      metadata: { ...metadata },
      rowObject: readRowObject(call),
      now: deps.clock.wallNow(),
    });
    return jsonResponse(table);
  }
  if (form === 'partialList') {
    return jsonResponse({
      kind: 'PartialObjectMetadataList',
      apiVersion: 'meta.k8s.io/v1',
      metadata,
      items: items.map((stored) => partialObject(stored.object)),
    });
  }
  if (form === 'yaml') {
    const list = {
      apiVersion: resource.apiVersion,
      items: items.map((stored) => stored.object),
      kind: resource.listKind,
      metadata,
    };
    return textResponse(formatYaml(list), 200, 'application/yaml');
  }
  // the items are JSON already
  const head = JSON.stringify({ apiVersion: resource.apiVersion, kind: resource.listKind, metadata }).slice(
    0,
    -1,
  );
  return textResponse(
    `${head},"items":[${items.map((stored) => stored.json).join(',')}]}`,
    200,
    'application/json',
  );
}

/** Any failure as a Status. Unknown ones become 500; the caller logs them. */
export function toStatusError(err: unknown): StatusError {
  if (err instanceof StatusError) return err;
  switch (errorCode(err)) {
    case 'EDGE_ERR_STORE_COMPACTED':
      return statusError('Expired', errorMessage(err));
    case 'EDGE_ERR_STORE_OVERLOADED':
      return statusError('TooManyRequests', errorMessage(err), { retryAfterSeconds: 1 });
    case 'EDGE_ERR_STORE_CLOSED':
      return statusError('ServiceUnavailable', 'the server is stopping', { retryAfterSeconds: 1 });
    case 'EDGE_ERR_STORE_TOO_LARGE':
      return statusError('RequestEntityTooLarge', `Request entity too large: limit is ${MAX_OBJECT_LENGTH}`);
    case 'EDGE_ERR_STORE_WRITE': {
      const error = statusError(
        'InternalError',
        `Internal error occurred: ${errorMessage(err)}`,
        undefined,
        err,
      );
      if (isOutOfSpace(err)) error.status.code = 507;
      return error;
    }
    default:
      return statusError('InternalError', `Internal error occurred: ${errorMessage(err)}`, undefined, err);
  }
}

/** Answers with a failure. */
export function errorResponse(error: StatusError): Response {
  const retryAfter = error.status.details?.retryAfterSeconds;
  return jsonResponse(error.status, error.httpCode, {
    ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
    ...(error.httpCode === 401 ? { 'www-authenticate': 'Bearer realm="edge"' } : {}),
  });
}
