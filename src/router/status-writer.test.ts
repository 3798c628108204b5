/** The status goes out as a patch that conflicts do not stop. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../apiclient/errors.ts';
import { createStatusWriter } from './status-writer.ts';

function setup(failures: Error[]) {
  const calls: unknown[][] = [];
  const writer = createStatusWriter({
    async patch(...args: unknown[]) {
      calls.push(args);
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      return {} as never;
    },
  });
  return { calls, write: () => writer('node-1', { version: '1' }, new AbortController().signal) };
}

function apiError(code: number, reason: string): ApiError {
  return new ApiError({ kind: 'Status', apiVersion: 'v1', status: 'Failure', reason, message: 'no' }, code);
}

const conflict = () => apiError(409, 'Conflict');

test('the status subresource is merge-patched', async () => {
  const { calls, write } = setup([]);
  await write();
  const [resource, name, body, options] = calls[0] as [
    { plural: string },
    string,
    unknown,
    Record<string, unknown>,
  ];
  assert.equal(resource.plural, 'routers');
  assert.equal(name, 'node-1');
  assert.deepEqual(body, { status: { version: '1' } });
  assert.equal(options['type'], 'merge');
  assert.equal(options['subresource'], 'status');
});

test('a conflict is tried again at once, not for ever', async () => {
  const two = setup([conflict(), conflict()]);
  await two.write();
  assert.equal(two.calls.length, 3);
  const many = setup(Array.from({ length: 100 }, conflict));
  await assert.rejects(many.write(), { statusCode: 409 });
  assert.ok(many.calls.length < 10);
});

test("other failures are the caller's", async () => {
  const { calls, write } = setup([apiError(403, 'Forbidden')]);
  await assert.rejects(write(), { statusCode: 403 });
  assert.equal(calls.length, 1);
});
