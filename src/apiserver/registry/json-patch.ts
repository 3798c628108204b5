/** JSON patch (RFC 6902) over the rfc6902 package, with the pointer checks it leaves out. */
import { applyPatch } from 'rfc6902';
import type { Operation } from 'rfc6902';
import { badRequest, statusError } from '../../api/status.ts';

/** The reference's limit; bounds the time a patch can take. */
const MAX_OPERATIONS = 10_000;
const OPERATIONS = new Set(['add', 'remove', 'replace', 'move', 'copy', 'test']);
/** Names that reach into prototypes; no field of an object has one. */
const UNSAFE = new Set(['__proto__', 'constructor', 'prototype']);

/** Checks the form of a patch body; throws a 400 Status. */
export function decodeJsonPatch(body: unknown): readonly Operation[] {
  if (!Array.isArray(body)) throw badRequest('error decoding patch: a JSON patch is an array of operations');
  if (body.length > MAX_OPERATIONS) {
    throw statusError(
      'RequestEntityTooLarge',
      `The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${body.length}`,
    );
  }
  for (const entry of body as unknown[]) {
    const operation = (typeof entry === 'object' && entry !== null ? entry : {}) as Record<string, unknown>;
    const { op, path, from } = operation;
    if (typeof op !== 'string' || !OPERATIONS.has(op))
      throw badRequest(`error decoding patch: unknown operation ${JSON.stringify(op)}`);
    if (!isPointer(path))
      throw badRequest(`error decoding patch: ${op}: path ${JSON.stringify(path)} is not a JSON pointer`);
    if ((op === 'move' || op === 'copy') && !isPointer(from)) {
      throw badRequest(`error decoding patch: ${op}: from ${JSON.stringify(from)} is not a JSON pointer`);
    }
    if ((op === 'add' || op === 'replace' || op === 'test') && !Object.hasOwn(operation, 'value')) {
      throw badRequest(`error decoding patch: ${op} ${path}: value is missing`);
    }
  }
  return body as Operation[];
}

function isPointer(value: unknown): value is string {
  return typeof value === 'string' && (value === '' || value.startsWith('/'));
}

function failed(operation: Operation, why: string): Error {
  return statusError(
    'Invalid',
    `the server rejected our request due to an error in our request: ${operation.op} operation does not apply: doc is missing path or test failed: ${operation.path}: ${why}`,
    {},
  );
}

/** Applies a checked patch to a copy; throws a 422 Status for a failed test or a missing path. */
export function applyJsonPatch(target: unknown, operations: readonly Operation[]): unknown {
  const root = { document: structuredClone(target) };
  for (const operation of operations) {
    checkPointer(
      root.document,
      operation,
      operation.path,
      operation.op === 'add' || operation.op === 'move' || operation.op === 'copy',
    );
    if ('from' in operation) checkPointer(root.document, operation, operation.from, false);
    // one level deeper, so that the whole document can be replaced too
    const rooted = {
      ...operation,
      path: `/document${operation.path}`,
      ...('from' in operation ? { from: `/document${operation.from}` } : {}),
    };
    const problem = applyPatch(root, [rooted])[0];
    if (problem !== null && problem !== undefined)
      throw failed(operation, problem.name === 'TestError' ? 'test failed' : 'path is missing');
  }
  return root.document;
}

/** Refuses pointers that leave the document's own members; a target of add may be one past the end. */
function checkPointer(document: unknown, operation: Operation, pointer: string, mayBeNew: boolean): void {
  const tokens = pointer
    .split('/')
    .slice(1)
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
  let value = document;
  for (const [at, token] of tokens.entries()) {
    const isTarget = at === tokens.length - 1;
    if (UNSAFE.has(token)) throw failed(operation, `"${token}" is not allowed`);
    if (Array.isArray(value)) {
      const isAppend = isTarget && mayBeNew && (token === '-' || token === String(value.length));
      if (isAppend) return;
      if (!/^(?:0|[1-9]\d*)$/u.test(token) || Number(token) >= value.length)
        throw failed(operation, 'path is missing');
      value = value[Number(token)] as unknown;
    } else if (typeof value === 'object' && value !== null) {
      if (!Object.hasOwn(value, token)) {
        if (isTarget && mayBeNew) return;
        throw failed(operation, 'path is missing');
      }
      value = (value as Record<string, unknown>)[token];
    } else throw failed(operation, 'path is missing');
  }
}
