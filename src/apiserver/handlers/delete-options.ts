/** DeleteOptions (meta/v1), from the body and the query: what a delete is allowed to remove, and how. */
import { badRequest } from '../../api/status.ts';
import type { StatusCause } from '../../api/status.ts';
import { contentType, decodeJson, decodeYaml, readBody, unsupportedMediaType } from './body.ts';
import type { ApiContext, Call } from './context.ts';
import { invalidOptions, readBoolean, readDryRun, readInteger } from './parameters.ts';

/** What of them changes something here: there is no garbage collector, and nothing has a grace period. */
export interface DeleteOptions {
  dryRun: boolean;
  uid: string | undefined;
  resourceVersion: string | undefined;
}

const POLICIES = ['Foreground', 'Background', 'Orphan'];

/** Reads DeleteOptions; the body wins over the query. A field of a wrong type is an error, never left out: 400 or 422. */
export async function readDeleteOptions(call: Call): Promise<DeleteOptions> {
  const { c } = call;
  const body = await readOptionsBody(c);
  const preconditions = typed(body, 'preconditions', 'object') ?? {};
  typed(body, 'gracePeriodSeconds', 'integer');
  readInteger(c, 'gracePeriodSeconds');
  const causes: StatusCause[] = [];
  const dryRun = readDryRun(typed(body, 'dryRun', 'strings') ?? c.req.queries('dryRun') ?? [], causes);
  const policy = typed(body, 'propagationPolicy', 'string') ?? c.req.query('propagationPolicy') ?? '';
  const orphan = typed(body, 'orphanDependents', 'boolean') ?? readBoolean(c, 'orphanDependents');
  if (policy !== '' && !POLICIES.includes(policy)) {
    const supported = [...POLICIES, 'nil'].map((entry) => JSON.stringify(entry)).join(', ');
    causes.push({
      reason: 'FieldValueNotSupported',
      message: `Unsupported value: ${JSON.stringify(policy)}: supported values: ${supported}`,
      field: 'propagationPolicy',
    });
  } else if (policy !== '' && orphan !== undefined) {
    causes.push({
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(policy)}: orphanDependents and deletionPropagation cannot be both set`,
      field: 'propagationPolicy',
    });
  }
  if (causes.length > 0) throw invalidOptions('DeleteOptions', causes);
  const text = (key: string): string | undefined => {
    const value = typed(preconditions, key, 'string', 'Preconditions');
    return value === '' ? undefined : value;
  };
  return { dryRun, uid: text('uid'), resourceVersion: text('resourceVersion') };
}

async function readOptionsBody(c: ApiContext): Promise<Record<string, unknown>> {
  const bytes = await readBody(c);
  if (bytes.length === 0) return {};
  const type = contentType(c);
  if (type !== 'application/json' && type !== 'application/yaml')
    throw unsupportedMediaType(['application/json', 'application/yaml']);
  const { value } = type === 'application/yaml' ? decodeYaml(bytes) : decodeJson(bytes);
  if (value === null || value === undefined) return {};
  if (typeof value !== 'object' || Array.isArray(value))
    throw badRequest('the body of a delete is a DeleteOptions object');
  const body = value as Record<string, unknown>;
  if (body['kind'] !== undefined && body['kind'] !== 'DeleteOptions')
    throw badRequest(`${JSON.stringify(body['kind'])} cannot be handled as a DeleteOptions`);
  return body;
}

/** The types that fields have, as Go names them in errors. */
interface Types {
  string: string;
  boolean: boolean;
  integer: number;
  strings: string[];
  object: Record<string, unknown>;
}
const TYPES: Readonly<Record<keyof Types, { name: string; is: (value: unknown) => boolean }>> = {
  string: { name: 'string', is: (value) => typeof value === 'string' },
  boolean: { name: 'bool', is: (value) => typeof value === 'boolean' },
  integer: { name: 'int64', is: (value) => Number.isInteger(value) },
  strings: {
    name: '[]string',
    is: (value) => Array.isArray(value) && value.every((entry) => typeof entry === 'string'),
  },
  object: {
    name: 'v1.Preconditions',
    is: (value) => typeof value === 'object' && !Array.isArray(value),
  },
};

/** A field of a type; undefined when it is absent or null. Throws a 400 Status for another type. */
function typed<T extends keyof Types>(
  from: Record<string, unknown>,
  key: string,
  type: T,
  owner = 'DeleteOptions',
): Types[T] | undefined {
  const value = from[key];
  if (value === undefined || value === null) return undefined;
  const { name, is } = TYPES[type];
  if (is(value)) return value as Types[T];
  const got = Array.isArray(value) ? 'array' : typeof value;
  throw badRequest(`json: cannot unmarshal ${got} into Go struct field ${owner}.${key} of type ${name}`);
}
