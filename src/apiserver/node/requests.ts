/** Reads the small JSON bodies of the node's own API; every mistake is a 400 Status that names the field. */
import { badRequest } from '../../api/status.ts';
import { ROLES } from '../auth/roles.ts';
import type { Role } from '../auth/roles.ts';
import { decodeJson, readBody } from '../handlers/body.ts';
import type { ApiContext } from '../handlers/context.ts';
import { isObjectName } from '../../api/names.ts';

/** A JSON object out of a request body. */
export type Fields = Readonly<Record<string, unknown>>;

/** Reads a body that must be a JSON object. */
export async function readFields(c: ApiContext): Promise<Fields> {
  const { value } = decodeJson(await readBody(c));
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badRequest('the request body must be a JSON object');
  return value as Fields;
}

/** A text that must be there. */
export function textField(fields: Fields, key: string, maxLength: number): string {
  const value = fields[key];
  if (typeof value !== 'string' || value === '' || value.length > maxLength)
    throw badRequest(`${key}: wanted a text of up to ${maxLength} characters`);
  return value;
}

/** A node's name that must be there. */
export function nodeField(fields: Fields): string {
  const node = textField(fields, 'node', 253);
  if (!isObjectName(node)) throw badRequest('node: wanted a lower case DNS name');
  return node;
}

/** A role out of `allowed`. */
export function roleField(fields: Fields, allowed: readonly Role[] = ROLES): Role {
  const role = allowed.find((entry) => entry === fields['role']);
  if (role === undefined) throw badRequest(`role: wanted one of ${allowed.join(', ')}`);
  return role;
}

/** A whole number of seconds within bounds, in milliseconds; `fallback` when it is absent. */
export function secondsField(fields: Fields, key: string, maxSeconds: number, fallback: number): number {
  const value = fields[key] ?? fallback;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > maxSeconds)
    throw badRequest(`${key}: wanted whole seconds from 1 to ${maxSeconds}`);
  return value * 1000;
}
