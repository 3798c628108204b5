/** Writes answers: objects and lists in the form the client asked for, and every failure as a Status. */
import type { KubeObject } from '../../api/meta.ts';
import { badRequest, statusError, StatusError } from '../../api/status.ts';
import type { Status, StatusDetails } from '../../api/status.ts';
import { errorCode, errorMessage } from '../../lib/errors.ts';
import { formatYaml } from '../../lib/yaml.ts';
import { isOutOfSpace } from '../store/errors.ts';
import { MAX_OBJECT_LENGTH, StoredObject } from '../store/store.ts';
import type { Call } from './context.ts';
import { prefersYaml } from './negotiation.ts';
import { isStreamed, listPieces, sendList } from './list-stream.ts';
import type { AnswerForm } from './negotiation.ts';
import { createTable, partialObject } from './table.ts';
import type { RowObject, Table } from './table.ts';

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

/** Adds Warning headers. */
export function withWarnings(response: Response, warnings: readonly string[]): Response {
  for (const text of warnings.slice(0, MAX_WARNINGS)) response.headers.append('warning', warningHeader(text));
  return response;
}

/** The `includeObject` parameter; throws a 400 Status. */
export function readRowObject(call: Call): RowObject {
  const text = call.c.req.query('includeObject') ?? '';
  if (text === '' || text === 'Metadata') return 'Metadata';
  if (text === 'None' || text === 'Object') return text;
  throw badRequest(
    `Unable to convert to Table as requested: includeObject: Invalid value: ${JSON.stringify(text)}: must be 'Metadata', 'Object', 'None', or empty`,
  );
}

function formatted(value: unknown, form: AnswerForm, code: number): Response {
  if (form.isYaml) return textResponse(formatYaml(value, true), code, 'application/yaml');
  return jsonResponse(value, code);
}

/** Answers with one object; `stored` when it came from the store, else a value that was not stored (dry run). */
export function objectResponse(
  call: Call,
  form: AnswerForm,
  code: number,
  source: StoredObject | KubeObject,
): Response {
  const response =
    source instanceof StoredObject && form.shape === 'object' && !form.isYaml
      ? textResponse(source.json, code, 'application/json') // which is JSON already
      : formatted(shaped(call, form, source instanceof StoredObject ? source.object : source), form, code);
  return withWarnings(response, call.warnings);
}

function shaped(call: Call, form: AnswerForm, object: KubeObject): unknown {
  switch (form.shape) {
    case 'table':
      return tableOf(call, form, [object], { resourceVersion: object.metadata.resourceVersion ?? '' });
    case 'partial':
      return partialObject(object, form.metaVersion);
    default:
      return object;
  }
}

/** Answers that something is done, with what it was done to. */
export function doneResponse(form: AnswerForm, details: StatusDetails): Response {
  const status: Status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', details };
  return formatted(status, form, 200);
}

function tableOf(
  call: Call,
  { metaVersion: apiVersion }: AnswerForm,
  objects: readonly KubeObject[],
  metadata: Record<string, unknown>,
): Table {
  const { resource, deps } = call;
  const now = deps.clock.wallNow();
  return createTable(resource, objects, { metadata, rowObject: readRowObject(call), now, apiVersion });
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
): Response | Promise<Response> {
  const { c, resource } = call;
  const { apiVersion, listKind: kind } = resource;
  const objects = (): KubeObject[] => items.map((stored) => stored.object);
  switch (form.shape) {
    case 'table':
      return formatted(tableOf(call, form, objects(), { ...metadata }), form, 200);
    case 'partialList':
      return formatted(
        {
          kind: 'PartialObjectMetadataList',
          apiVersion: form.metaVersion,
          metadata,
          items: objects().map((object) => partialObject(object, form.metaVersion)),
        },
        form,
        200,
      );
    default: {
      const whole = { apiVersion, kind, metadata: { continue: '', ...metadata } };
      if (form.isYaml) return formatted({ ...whole, items: objects() }, form, 200);
      // the items are JSON already
      const head = JSON.stringify(whole).slice(0, -1);
      if (isStreamed(c, items)) return sendList(c, head, items);
      return textResponse([...listPieces(head, items)].join(''), 200, 'application/json');
    }
  }
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

/** Answers with a failure, in YAML to a client that reads YAML rather than JSON. */
export function errorResponse(error: StatusError, accept?: string): Response {
  const retryAfter = error.status.details?.retryAfterSeconds;
  const headers = {
    ...(retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }),
    ...(error.httpCode === 401 ? { 'www-authenticate': 'Bearer realm="edge"' } : {}),
  };
  if (prefersYaml(accept))
    return textResponse(formatYaml(error.status, true), error.httpCode, 'application/yaml', headers);
  return jsonResponse(error.status, error.httpCode, headers);
}
