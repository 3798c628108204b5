/** Query parameters of writes and reads, checked as the Kubernetes options objects are. */
import { parseLabelSelector } from '../../api/label-selector.ts';
import { parseFieldSelector } from '../../api/selectors.ts';
import type { Selectors } from '../../api/selectors.ts';
import { badRequest, invalid, statusError } from '../../api/status.ts';
import type { StatusCause } from '../../api/status.ts';
import type { Resource } from '../registry/resources.ts';
import type { ApiContext } from './context.ts';

/** How unknown and repeated fields are treated. */
export type FieldValidation = 'Strict' | 'Warn' | 'Ignore';

/** Options of create, update and patch. */
export interface WriteOptions {
  dryRun: boolean;
  fieldValidation: FieldValidation;
  /** Who writes: `fieldManager`, else the program in User-Agent. */
  manager: string;
  /** Take fields from their owners; for apply only. */
  isForced: boolean;
}

/** The object whose options a write reads, as errors name it. */
export type WriteOptionsKind = 'CreateOptions' | 'UpdateOptions' | 'PatchOptions';

/** The 422 of a wrong options object. */
export function invalidOptions(kind: string, causes: StatusCause[]): Error {
  return invalid({ group: 'meta.k8s.io', kind }, '', causes);
}

function unsupported(field: string, value: unknown, supported: readonly string[]): StatusCause {
  const list = supported.map((entry) => JSON.stringify(entry)).join(', ');
  return {
    reason: 'FieldValueNotSupported',
    message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${list}`,
    field,
  };
}

const MAX_MANAGER = 128;
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/u;

/**
 * Reads the options of a write; `kind` names them in errors. An apply must say who writes, and may be forced.
 * Throws a 422 Status.
 */
export function readWriteOptions(c: ApiContext, kind: WriteOptionsKind, isApply = false): WriteOptions {
  if (!isApply && !c.req.url.includes('?')) {
    return { dryRun: false, fieldValidation: 'Warn', manager: programOf(c), isForced: false };
  }
  const causes: StatusCause[] = [];
  const dryRun = readDryRun(c.req.queries('dryRun') ?? [], causes);
  const validation = c.req.query('fieldValidation') ?? '';
  if (validation !== '' && validation !== 'Strict' && validation !== 'Warn' && validation !== 'Ignore') {
    causes.push(unsupported('fieldValidation', validation, ['', 'Ignore', 'Strict', 'Warn']));
  }
  const fieldManager = c.req.query('fieldManager') ?? '';
  if (fieldManager.length > MAX_MANAGER) {
    causes.push({
      reason: 'FieldValueTooLong',
      message: `Too long: may not be more than ${MAX_MANAGER} bytes`,
      field: 'fieldManager',
    });
  }
  if (UNPRINTABLE.test(fieldManager)) {
    causes.push({
      reason: 'FieldValueInvalid',
      message: `Invalid value: ${JSON.stringify(fieldManager)}: should only contain printable characters`,
      field: 'fieldManager',
    });
  }
  if (isApply && fieldManager === '') {
    causes.push({
      reason: 'FieldValueRequired',
      message: 'Required value: is required for apply patch',
      field: 'fieldManager',
    });
  }
  if (!isApply && kind === 'PatchOptions' && c.req.query('force') !== undefined) {
    causes.push({
      reason: 'FieldValueForbidden',
      message: 'Forbidden: may not be specified for non-apply patch',
      field: 'force',
    });
  }
  if (causes.length > 0) throw invalidOptions(kind, causes);
  return {
    dryRun,
    fieldValidation: validation === 'Strict' || validation === 'Ignore' ? validation : 'Warn',
    manager: fieldManager === '' ? programOf(c) : fieldManager,
    isForced: isApply && readBoolean(c, 'force') === true,
  };
}

/** The program that sends a request, as a manager of fields. */
function programOf(c: ApiContext): string {
  const program = (c.req.header('user-agent') ?? 'unknown').split('/', 1)[0] ?? 'unknown';
  return program.slice(0, MAX_MANAGER);
}

/** Whether `dryRun` is asked for; other values than All become causes. */
export function readDryRun(values: readonly string[], causes: StatusCause[]): boolean {
  if (values.some((value) => value !== 'All')) causes.push(unsupported('dryRun', values, ['All']));
  return values.includes('All');
}

/** Reads a whole number; undefined when absent or empty. Throws a 400 Status. */
export function readInteger(c: ApiContext, name: string): number | undefined {
  const text = c.req.query(name);
  if (text === undefined || text === '') return undefined;
  if (!/^-?\d{1,15}$/u.test(text))
    throw badRequest(`${name}: Invalid value: ${JSON.stringify(text)}: must be a number`);
  return Number(text);
}

/** Reads `true`, `1` and the like; false when absent. Throws a 400 Status. */
export function readBoolean(c: ApiContext, name: string): boolean | undefined {
  const text = c.req.query(name);
  if (text === undefined) return undefined;
  if (text === 'false' || text === '0') return false;
  return true; // any other value, empty too, as the reference reads it
}

/** Reads `labelSelector` and `fieldSelector`; throws a 400 Status. */
export function readSelectors(c: ApiContext, resource: Resource): Selectors {
  return {
    labels: parseLabelSelector(c.req.query('labelSelector') ?? ''),
    fields: parseFieldSelector(c.req.query('fieldSelector') ?? '', resource.selectableFields),
  };
}

/** Reads `resourceVersion`; undefined when absent or empty. Throws a 400 Status. */
export function readRevision(c: ApiContext): number | undefined {
  const text = c.req.query('resourceVersion');
  if (text === undefined || text === '') return undefined;
  if (!/^\d{1,15}$/u.test(text)) {
    throw badRequest(`resourceVersion: Invalid value: ${JSON.stringify(text)}: must be a decimal number`);
  }
  return Number(text);
}

/** The 504 of a version that this server has not reached. */
export function tooLargeRevision(wanted: number, current: number): Error {
  return statusError('Timeout', `Timeout: Too large resource version: ${wanted}, current: ${current}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
}
