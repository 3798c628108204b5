/** JSON patch (RFC 6902) over the rfc6902 package, with the pointer checks it leaves out. */
import { applyPatch } from 'rfc6902';
import type { Operation } from 'rfc6902';
import { badRequest, statusError } from '../../api/status.ts';
import { copyJson } from '../../lib/json.ts';

/** The reference's limit; bounds the time a patch can take. */
const MAX_OPERATIONS = 10_000;
/** Unknown members that are named; more help nobody. */
const MAX_UNKNOWN = 20;
const OPERATIONS = new Set(['add', 'remove', 'replace', 'move', 'copy', 'test']);
/** Names that reach into prototypes; no field of an object has one. */
const UNSAFE = new Set(['__proto__', 'constructor', 'prototype']);

/** A patch body that was checked. */
export interface JsonPatch {
  operations: readonly Operation[];
  /** Paths of members that no operation has: `[0].foo`. */
  unknownFields: readonly string[];
}

/** Members of an operation (RFC 6902 section 4). */
const MEMBERS = new Set(['op', 'path', 'from', 'value']);

/** Checks the form of a patch body; throws a 400, 413 or 422 Status. As with the reference, null changes nothing. */
export function decodeJsonPatch(body: unknown): JsonPatch {
  if (body === null) return { operations: [], unknownFields: [] };
  if (!Array.isArray(body)) throw badRequest('error decoding patch: a JSON patch is an array of operations');
  if (body.length > MAX_OPERATIONS) {
    throw statusError(
      'RequestEntityTooLarge',
      `Request entity too large: The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${body.length}`,
    );
  }
  const unknownFields: string[] = [];
  const operations = (body as unknown[]).map((entry, at): Operation => {
    const operation = (typeof entry === 'object' && entry !== null ? entry : {}) as Record<string, unknown>;
    const { op, path, from, value = null } = operation;
    for (const key of Object.keys(operation)) {
      if (!MEMBERS.has(key) && unknownFields.length < MAX_UNKNOWN) unknownFields.push(`[${at}].${key}`);
    }
    if (typeof op !== 'string' || !OPERATIONS.has(op))
      throw rejected(`unknown operation ${JSON.stringify(op)}`);
    if (!isPointer(path)) throw rejected(`${op}: path ${JSON.stringify(path)} is not a JSON pointer`);
    if ((op === 'move' || op === 'copy') && !isPointer(from))
      throw rejected(`${op}: from ${JSON.stringify(from)} is not a JSON pointer`);
    return { op, path, ...(isPointer(from) ? { from } : {}), value } as Operation;
  });
  return { operations, unknownFields };
}

function isPointer(value: unknown): value is string {
  return typeof value === 'string' && (value === '' || value.startsWith('/'));
}

function rejected(why: string): Error {
  return statusError('Invalid', `the server rejected our request due to an error in our request: ${why}`, {});
}

function failed(operation: Operation, why: string): Error {
  return rejected(
    `${operation.op} operation does not apply: doc is missing path or test failed: ${operation.path}: ${why}`,
  );
}

/** Applies a checked patch to a copy; throws a 422 Status for a failed test or a missing path. */
export function applyJsonPatch(target: unknown, operations: readonly Operation[]): unknown {
  const root = { document: copyJson(target) };
  for (const operation of operations) applyOperation(root, operation);
  return root.document;
}

/**
 * The reference is more lenient than RFC 6902, and patches rely on it: replace adds a member that is missing, a test
 * for null passes without it, and indices below zero count from the end.
 */
function applyOperation(root: { document: unknown }, operation: Operation): void {
  const { op, path: pointer } = operation;
  const find = (pointer: string, may: { beNew?: boolean; beMissing?: boolean } = {}): Target =>
    findTarget(root.document, operation, pointer, may);
  if (op === 'move') {
    const { path, value } = find(operation.from);
    applyOperation(root, { op: 'remove', path });
    applyOperation(root, { op: 'add', path: pointer, value });
    return;
  }
  if (op === 'copy') {
    const value = copyJson(find(operation.from).value);
    applyOperation(root, { op: 'add', path: pointer, value });
    return;
  }
  const isLenient = op === 'replace' || (op === 'test' && operation.value === null);
  const { path, isMissing } = find(pointer, { beNew: op === 'add', beMissing: isLenient });
  if (op === 'test' && isMissing) return;
  const applied: Operation =
    op === 'replace' && isMissing ? { op: 'add', path, value: operation.value as unknown } : operation;
  // one level deeper, so that the whole document can be replaced too
  const problem = applyPatch(root, [{ ...applied, path: `/document${path}` }])[0];
  if (problem !== null && problem !== undefined)
    throw failed(operation, problem.name === 'TestError' ? 'test failed' : 'path is missing');
}

/** Where a pointer leads. */
interface Target {
  /** The pointer with indices as they stand in the document. */
  path: string;
  isMissing: boolean;
  value: unknown;
}

/** Refuses pointers that leave the document's own members; a target of add may be one past the end. */
function findTarget(
  document: unknown,
  operation: Operation,
  pointer: string,
  may: { beNew?: boolean; beMissing?: boolean },
): Target {
  const steps = pointer.split('/').slice(1);
  let value = document;
  for (const [at, step] of steps.entries()) {
    const token = step.replaceAll('~1', '/').replaceAll('~0', '~');
    const isTarget = at === steps.length - 1;
    if (UNSAFE.has(token)) throw failed(operation, `"${token}" is not allowed`);
    if (Array.isArray(value)) {
      const length = value.length + (isTarget && may.beNew === true ? 1 : 0);
      if (isTarget && may.beNew === true && token === '-') break;
      if (!/^(?:0|-?[1-9]\d*)$/u.test(token)) throw failed(operation, 'path is missing');
      const index = Number(token) < 0 ? length + Number(token) : Number(token);
      if (index < 0 || index >= length) throw failed(operation, 'path is missing');
      steps[at] = String(index);
      value = value[index] as unknown;
    } else if (typeof value === 'object' && value !== null) {
      if (!Object.hasOwn(value, token)) {
        if (!isTarget || (may.beNew !== true && may.beMissing !== true))
          throw failed(operation, 'path is missing');
        return { path: joined(steps), isMissing: true, value: undefined };
      }
      value = (value as Record<string, unknown>)[token];
    } else throw failed(operation, 'path is missing');
  }
  return { path: joined(steps), isMissing: false, value };
}

function joined(steps: readonly string[]): string {
  return steps.map((step) => `/${step}`).join('');
}
