/** Long lists over real connections: whole, compressed or not, and cut off by the client. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get, request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { createHarness, router, ROUTERS } from '../../../test/support/apiserver-harness.ts';
import type { Harness } from '../../../test/support/apiserver-harness.ts';
import { StoredObject } from '../store/store.ts';
import { listPieces } from './list-stream.ts';

/** Together more than what is sent at once. */
const COUNT = 200;
const NOTE = 'ü'.repeat(6000);

let api: Harness;
let port: number;
before(async () => {
  api = await createHarness();
  ({ port } = await api.listen());
  await Promise.all(
    Array.from({ length: COUNT }, (_, at) =>
      api.send('POST', ROUTERS, {
        body: router(`r-${String(at).padStart(3, '0')}`, { metadata: { annotations: { note: NOTE } } }),
      }),
    ),
  );
});
after(() => api.close());

async function fetchList(
  headers: Record<string, string>,
): Promise<{ response: IncomingMessage; body: Buffer }> {
  const [response] = (await once(get({ port, path: ROUTERS, headers, agent: false }), 'response')) as [
    IncomingMessage,
  ];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { response, body: Buffer.concat(chunks) };
}

test('a long list comes whole and in order, with its length left open', async () => {
  const { response, body } = await fetchList({});
  assert.equal(response.statusCode, 200);
  assert.equal(response.headers['content-type'], 'application/json');
  assert.equal(response.headers['content-length'], undefined);
  const list = JSON.parse(body.toString()) as { kind: string; items: { metadata: { name: string } }[] };
  assert.equal(list.kind, 'RouterList');
  assert.equal(list.items.length, COUNT);
  assert.deepEqual(
    list.items.map(({ metadata }) => metadata.name),
    list.items.map(({ metadata }) => metadata.name).sort(),
  );
  // byte for byte what is sent at once elsewhere
  assert.equal(body.toString(), (await api.send('GET', ROUTERS)).text);
});

test('it comes compressed to those who read gzip', async () => {
  const { response, body } = await fetchList({ 'accept-encoding': 'gzip' });
  assert.equal(response.headers['content-encoding'], 'gzip');
  assert.equal(response.headers['vary'], 'Accept-Encoding');
  assert.equal(gunzipSync(body).toString(), (await api.send('GET', ROUTERS)).text);
});

test('HEAD has the headers and no body', async () => {
  const outgoing = request({ port, path: ROUTERS, method: 'HEAD', agent: false }).end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  assert.equal(response.statusCode, 200);
  assert.ok(Number(response.headers['content-length']) > COUNT * NOTE.length);
  response.resume();
  await once(response, 'end');
});

test('a client that leaves in the middle takes nothing with it', async () => {
  for (let round = 0; round < 5; round++) {
    const outgoing = get({ port, path: ROUTERS, agent: false });
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    await once(response, 'data');
    outgoing.destroy();
  }
  assert.equal((await fetchList({})).response.statusCode, 200);
});

test('pieces join to a list of none, one and many', () => {
  for (const count of [0, 1, 2, 5]) {
    const items = Array.from({ length: count }, (_, at) => {
      const json = JSON.stringify({ at, note: 'x'.repeat(50_000) });
      return new StoredObject('routers', String(at), at, json);
    });
    const text = [...listPieces('{"kind":"List"', items)].join('');
    assert.deepEqual(JSON.parse(text), { kind: 'List', items: items.map(({ json }) => JSON.parse(json)) });
  }
});
