/** Whether a body is an object of the kind that its path serves; the ways of writing refuse another one each in its own words. */
import { badRequest, invalid, statusError } from '../../api/status.ts';
import type { Resource } from './resources.ts';
import { isRecord } from '../../lib/json.ts';

/** Where an object comes from: sent whole, made by a patch, or applied. */
export type ObjectSource = 'whole' | 'patched' | 'applied';

const SHOWN_LENGTH = 200;

/** The 422 of a patch whose result is no object of its kind. */
export function unpatchable(result: unknown, why: string): Error {
  const shown = JSON.stringify((JSON.stringify(result) ?? '').slice(0, SHOWN_LENGTH));
  const message = `Invalid value: ${shown}: ${why}`;
  return statusError('Invalid', ` "" is invalid: patch: ${message}`, {
    causes: [{ reason: 'FieldValueInvalid', message, field: 'patch' }],
  });
}

/** Gives a body as an object of the resource's kind; throws a 400 or 422 Status when it is something else. */
export function checkObjectType(
  resource: Resource,
  body: unknown,
  source: ObjectSource,
): Record<string, unknown> {
  const { kind, apiVersion } = resource;
  const found = isRecord(body) ? body : {};
  if (found['kind'] === kind && found['apiVersion'] === apiVersion) return found;
  const given = { kind: text(found['kind']), apiVersion: text(found['apiVersion']) };
  if (source === 'applied') {
    if (!isRecord(body) && body !== undefined && body !== null)
      throw badRequest('error decoding patch: the body is not an object');
    const named = given.apiVersion === '' ? '/' : given.apiVersion;
    throw badRequest(`invalid object type: ${named}, Kind=${given.kind}`);
  }
  if (given.kind === '') {
    const shown = (JSON.stringify(body) ?? '').slice(0, SHOWN_LENGTH);
    const why =
      isRecord(body) || body === null ? `Object 'Kind' is missing in '${shown}'` : 'it is not an object';
    if (source === 'patched') throw unpatchable(body, why);
    throw badRequest(`the object provided is unrecognized (must be of type ${kind}): ${why}`);
  }
  if (source === 'whole' && given.apiVersion !== apiVersion) {
    throw badRequest(
      `the API version in the data (${given.apiVersion}) does not match the expected API version (${apiVersion})`,
    );
  }
  const [field, value, wanted] =
    given.kind === kind
      ? (['apiVersion', given.apiVersion, apiVersion] as const)
      : (['kind', given.kind, kind] as const);
  const group = given.apiVersion.includes('/') ? (given.apiVersion.split('/', 1)[0] ?? '') : '';
  throw invalid({ group, kind: given.kind }, nameOf(found), [
    {
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(value)}: must be ${wanted}`,
      field,
    },
  ]);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function nameOf({ metadata }: Record<string, unknown>): string {
  return isRecord(metadata) ? text(metadata['name']) : '';
}
