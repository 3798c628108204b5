/** Tests of the API client: typed calls, errors in words, limits, credentials that change. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { FakeApiServer } from '../../test/support/fake-api-server.ts';
import { tempDir } from '../../test/support/temp-dir.ts';
import { waitFor } from '../../test/support/wait.ts';
import { API_VERSION, ROUTERS } from '../api/edge.ts';
import type { KubeObject, WatchEvent } from '../api/meta.ts';
import { errorCode } from '../lib/errors.ts';
import { createApiClient, queryString, resourcePath } from './client.ts';
import type { ApiClient, ApiClientOptions } from './client.ts';
import type { ApiError } from './errors.ts';
import { isAlreadyExists, isConflict, isDenied, isExpired, isNotFound } from './errors.ts';

function router(name: string, bindPort = 7000): KubeObject {
  return { apiVersion: API_VERSION, kind: 'Router', metadata: { name }, spec: { frps: { bindPort } } };
}

function clientOf(t: TestContext, server: string, options: ApiClientOptions = {}): ApiClient {
  const client = createApiClient({ server }, options);
  t.after(() => client.close());
  return client;
}

async function fake(t: TestContext): Promise<FakeApiServer> {
  const api = new FakeApiServer();
  await api.start(t);
  return api;
}

/** An HTTP server that answers as the test says. */
async function answering(
  t: TestContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('paths and queries are percent-encoded', () => {
  assert.equal(resourcePath(ROUTERS, 'a/b', 'status'), '/apis/edge.example.com/v1/routers/a%2Fb/status');
  assert.equal(resourcePath({ group: '', version: 'v1', plural: 'events', kind: 'Event' }), '/api/v1/events');
  assert.equal(queryString({ a: 'x=1,y', b: undefined, c: '' }), '?a=x%3D1%2Cy');
});

test('objects are created, read, updated, listed and deleted', async (t) => {
  const api = await fake(t);
  const client = clientOf(t, api.url);
  const created = await client.create(ROUTERS, router('n1'));
  const updated = await client.updateStatus(ROUTERS, { ...created, status: { version: '1' } });
  assert.deepEqual((await client.get(ROUTERS, 'n1')).status, { version: '1' });
  assert.equal((await client.list(ROUTERS)).items.length, 1);
  await client.update(ROUTERS, { ...updated, spec: { frps: { bindPort: 1 } } });
  await client.delete(ROUTERS, 'n1');
  await assert.rejects(client.get(ROUTERS, 'n1'), isNotFound);
});

test('error answers carry status, reason and what to do', async (t) => {
  const api = await fake(t);
  const client = clientOf(t, api.url);
  const created = await client.create(ROUTERS, router('n1'));
  await assert.rejects(
    client.create(ROUTERS, router('n1')),
    (err) => isAlreadyExists(err) && !isConflict(err),
  );
  await client.update(ROUTERS, created);
  await assert.rejects(client.update(ROUTERS, created), (err) => isConflict(err) && !isAlreadyExists(err));
  api.token = 'wanted';
  await assert.rejects(
    client.list(ROUTERS),
    (err: ApiError) => isDenied(err) && /kubeconfig/u.test(err.hint ?? ''),
  );
});

test('an answer that is not of an API server is told apart', async (t) => {
  const html = await answering(t, (_request, response) =>
    response.writeHead(502).end('<html>bad gateway</html>'),
  );
  await assert.rejects(clientOf(t, html).list(ROUTERS), (err: ApiError) => {
    assert.equal(err.statusCode, 502);
    assert.match(err.message, /bad gateway/u);
    return true;
  });
  for (const body of ['hello', '3', '{"kind":"RouterList"}']) {
    const url = await answering(t, (_request, response) => response.end(body));
    await assert.rejects(clientOf(t, url).list(ROUTERS), { code: 'EDGE_ERR_API_PROTOCOL' });
  }
});

test('a refused connection, a missing socket and a TLS mismatch say what to do', async (t) => {
  const api = await fake(t);
  const free = await fake(t);
  await free.stop();
  const cases: readonly [string, string, RegExp][] = [
    [free.url, 'EDGE_ERR_API_UNREACHABLE', /edge apiserver/u],
    ['unix:///nonexistent/edge.sock', 'EDGE_ERR_API_UNREACHABLE', /--socket/u],
    [api.url.replace('http', 'https'), 'EDGE_ERR_API_PROTOCOL', /http:\/\//u],
  ];
  for (const [server, code, hint] of cases) {
    await assert.rejects(clientOf(t, server).list(ROUTERS), (err: ApiError) => {
      assert.equal(err.code, code);
      assert.match(err.hint ?? '', hint);
      assert.ok(err.message.includes(server), err.message);
      return true;
    });
  }
});

test('a server that is no HTTP server, or never answers, or closes, fails the call', async (t) => {
  const banner = createTcpServer((socket) => socket.on('error', () => {}).end('SSH-2.0-x\r\n')).listen(
    0,
    '127.0.0.1',
  );
  t.after(() => banner.close());
  await waitFor(() => banner.listening, { what: 'listening' });
  await assert.rejects(
    clientOf(t, `http://127.0.0.1:${(banner.address() as AddressInfo).port}`).list(ROUTERS),
    {
      code: 'EDGE_ERR_API_PROTOCOL',
    },
  );
  const api = await fake(t);
  api.isHanging = true;
  await assert.rejects(clientOf(t, api.url, { requestTimeoutMs: 50 }).list(ROUTERS), {
    code: 'EDGE_ERR_API_TIMEOUT',
  });
  const half = await answering(t, (_request, response) => {
    response.writeHead(200, { 'content-length': 100 }).write('{');
    setImmediate(() => response.destroy());
  });
  await assert.rejects(clientOf(t, half).list(ROUTERS), { code: 'EDGE_ERR_API_UNREACHABLE' });
});

test('answers and watch lines over the limit are cut off', async (t) => {
  const big = await answering(t, (_request, response) => response.end(Buffer.alloc(5000, 'x')));
  await assert.rejects(clientOf(t, big, { maxResponseBytes: 4000 }).list(ROUTERS), {
    code: 'EDGE_ERR_API_TOO_LARGE',
  });
  const watch = clientOf(t, big, { maxLineBytes: 4000 }).watch(ROUTERS, {
    signal: new AbortController().signal,
  });
  await assert.rejects(collect(watch), { code: 'EDGE_ERR_API_TOO_LARGE' });
});

async function collect<T>(events: AsyncIterable<WatchEvent<T>>): Promise<WatchEvent<T>[]> {
  const all: WatchEvent<T>[] = [];
  for await (const event of events) all.push(event);
  return all;
}

test('watch events arrive whole however the bytes are split, and the last line needs no pause', async (t) => {
  const lines =
    ['a', 'bé'].map((name) => JSON.stringify({ type: 'ADDED', object: router(name) })).join('\n') + '\n';
  const bytes = Buffer.from(lines);
  for (const size of [1, 7, bytes.length]) {
    const url = await answering(t, (_request, response) => {
      for (let at = 0; at < bytes.length; at += size) response.write(bytes.subarray(at, at + size));
      response.end();
    });
    const events = await collect(clientOf(t, url).watch(ROUTERS, { signal: new AbortController().signal }));
    assert.deepEqual(
      events.map((event) => event.object.metadata.name),
      ['a', 'bé'],
    );
  }
});

test('an ERROR event ends the watch as an API error, a line that is no event as a protocol error', async (t) => {
  const expired = {
    type: 'ERROR',
    object: { kind: 'Status', code: 410, reason: 'Expired', message: 'too old' },
  };
  for (const [line, check] of [
    [JSON.stringify(expired), isExpired],
    ['{"type":"ADDED"}', (err: unknown) => errorCode(err) === 'EDGE_ERR_API_PROTOCOL'],
    ['garbage', (err: unknown) => errorCode(err) === 'EDGE_ERR_API_PROTOCOL'],
  ] as const) {
    const url = await answering(t, (_request, response) => response.end(`${line}\n`));
    await assert.rejects(
      collect(clientOf(t, url).watch(ROUTERS, { signal: new AbortController().signal })),
      check,
    );
  }
});

test('aborting a watch ends it without an error and closes its connection, also one that is being opened', async (t) => {
  const api = await fake(t);
  for (const isHanging of [false, true]) {
    api.isHanging = isHanging;
    const ending = new AbortController();
    let isOpen = false;
    const watching = collect(
      clientOf(t, api.url).watch(ROUTERS, {
        signal: ending.signal,
        onOpen: () => {
          isOpen = true;
        },
      }),
    );
    const opened = (): boolean => (isHanging ? api.connections === 1 : isOpen);
    await waitFor(opened, { what: 'the watch' });
    ending.abort();
    assert.deepEqual(await watching, []);
    await waitFor(() => api.watchers === 0 && api.connections === 0, { what: 'connection closed' });
  }
});

test('a rotated token is used at once when the old one is refused', async (t) => {
  const api = await fake(t);
  const path = join(tempDir(t), 'kubeconfig');
  const write = (token: string): void =>
    writeFileSync(
      path,
      `current-context: x
clusters: [{name: x, cluster: {server: "${api.url}"}}]
users: [{name: x, user: {token: ${token}}}]
contexts: [{name: x, context: {cluster: x, user: x}}]
`,
    );
  write('one');
  api.token = 'one';
  const client = createApiClient({ server: api.url, token: 'one', source: path });
  t.after(() => client.close());
  await client.list(ROUTERS);
  write('two');
  api.token = 'two';
  await client.list(ROUTERS);
  api.token = 'three';
  await assert.rejects(client.list(ROUTERS), isDenied);
});

test('access that cannot be loaded yet fails the call only, and is tried again by the next', async (t) => {
  const api = await fake(t);
  let isReady = false;
  const client = createApiClient(() =>
    isReady ? Promise.resolve({ server: api.url }) : Promise.reject(new Error('not there yet')),
  );
  t.after(() => client.close());
  await assert.rejects(client.list(ROUTERS), /not there yet/u);
  isReady = true;
  await client.list(ROUTERS);
});

test('warnings of the server are handed on', async (t) => {
  const seen: string[] = [];
  const url = await answering(t, (_request, response) => {
    response.setHeader('warning', ['299 - "unknown field \\"spec.x\\""', '299 - "second"']);
    response.end('{"items":[]}');
  });
  await clientOf(t, url, { onWarning: (text) => seen.push(text) }).list(ROUTERS);
  assert.deepEqual(seen, ['unknown field "spec.x"', 'second']);
});
