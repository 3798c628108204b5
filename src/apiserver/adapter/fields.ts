/** The parameters of a request to the adapter: a form, or a JSON object; bounded. */
import { badRequest } from '../../api/status.ts';
import { readBody } from '../handlers/body.ts';
import type { ApiContext } from '../handlers/context.ts';

/** Parameters by name. */
export type Fields = Readonly<Record<string, unknown>>;

/** Those of a node. */
const MAX_BODY_BYTES = 16 * 1024;

/** Reads them; throws a 400 Status for another body, 413 for a longer one. */
export async function readFields(c: ApiContext, maxBytes = MAX_BODY_BYTES): Promise<Fields> {
  const bytes = await readBody(c, maxBytes);
  const type = c.req.header('content-type') ?? '';
  if (/^\s*(?:application\/x-www-form-urlencoded|multipart\/form-data)/iu.test(type))
    return readForm(bytes, type);
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch {
    throw badRequest('the request body is neither a form nor JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw badRequest('the request body is not a JSON object');
  return value as Fields;
}

/** Of a name that stands twice the last counts; files of a form are no parameters. */
async function readForm(bytes: Buffer, type: string): Promise<Fields> {
  try {
    const form = await new Response(new Uint8Array(bytes), { headers: { 'content-type': type } }).formData();
    return Object.fromEntries([...form].filter(([, value]) => typeof value === 'string'));
  } catch {
    throw badRequest('the request body is not the form that its content type says');
  }
}
