/** `edge apiserver` as a process: first start, crash, second server, listeners and what it says about mistakes. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { Agent, request as httpsRequest } from 'node:https';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { parseYaml } from '../../src/lib/yaml.ts';
import { runEdge, startEdge, startEdgeReady } from '../support/edge-process.ts';
import type { TestProcess } from '../support/processes.ts';
import { freePort } from '../support/ports.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

const ROUTERS = '/apis/edge.example.com/v1/routers';

interface Kubeconfig {
  clusters: { cluster: { server: string; 'certificate-authority-data'?: string } }[];
  users: { user: Record<string, string | undefined> }[];
}

function readKubeconfig(dataDir: string, role: string): Kubeconfig {
  return parseYaml(readFileSync(join(dataDir, `${role}.kubeconfig`), 'utf8'), role) as Kubeconfig;
}

interface Answer {
  code: number;
  text: string;
}

/** Sends requests with a role's kubeconfig; `onResponse` is told when an answer begins. */
function client(t: TestContext, dataDir: string, role = 'admin') {
  const { clusters, users } = readKubeconfig(dataDir, role);
  const decode = (text: string | undefined) => Buffer.from(text ?? '', 'base64');
  const user = users[0]?.user;
  const agent = new Agent({
    ca: decode(clusters[0]?.cluster['certificate-authority-data']),
    cert: decode(user?.['client-certificate-data']),
    key: decode(user?.['client-key-data']),
    keepAlive: true,
  });
  t.after(() => agent.destroy());
  const server = clusters[0]?.cluster.server ?? '';
  return (
    method: string,
    path: string,
    body?: unknown,
    type = 'application/json',
    onResponse: () => void = () => {},
  ): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const outgoing = httpsRequest(
        `${server}${path}`,
        { method, agent, headers: { 'content-type': type } },
        (response) => {
          onResponse();
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (chunk: string) => (text += chunk));
          response.on('end', () => resolve({ code: response.statusCode ?? 0, text }));
          response.on('error', reject);
        },
      );
      outgoing.on('error', reject);
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
}

function router(name: string): unknown {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name },
    spec: { frps: { bindPort: 7000 } },
  };
}

function start(t: TestContext, dataDir: string, ...args: string[]): Promise<TestProcess> {
  return startEdgeReady(t, [
    'apiserver',
    '--data-dir',
    dataDir,
    '--listen',
    '127.0.0.1:0',
    '--node',
    'node-1',
    ...args,
  ]);
}

test('the first start makes certificates and kubeconfigs that work and that only the owner reads', async (t) => {
  const dataDir = join(tempDir(t), 'data');
  const server = await start(t, dataDir);
  for (const role of ['admin', 'router', 'syncer', 'sidecar', 'cloud']) {
    assert.equal(statSync(join(dataDir, `${role}.kubeconfig`)).mode & 0o777, 0o600);
    assert.equal((await client(t, dataDir, role)('GET', ROUTERS)).code, 200, role);
  }
  assert.equal((await client(t, dataDir)('POST', ROUTERS, router('r1'))).code, 201);
  assert.equal((await client(t, dataDir, 'sidecar')('DELETE', `${ROUTERS}/r1`)).code, 403);
  assert.equal(
    (await client(t, dataDir, 'router')('PATCH', `${ROUTERS}/r1/status`, {}, 'application/merge-patch+json'))
      .code,
    403,
  );
  const before = readFileSync(join(dataDir, 'pki/ca.crt'), 'utf8');
  assert.deepEqual(await server.stop(), { status: 0, signal: null });
  await start(t, dataDir);
  assert.equal(readFileSync(join(dataDir, 'pki/ca.crt'), 'utf8'), before, 'the authority is kept');
  assert.equal(
    (await client(t, dataDir)('GET', `${ROUTERS}/r1`)).code,
    200,
    'the kubeconfig has the new port',
  );
});

test('kill -9 through concurrent writes loses no acknowledged one', async (t) => {
  const dataDir = tempDir(t);
  const acknowledged = new Map<string, number>();
  for (let round = 0; round < 3; round++) {
    const server = await start(t, dataDir, '--journal-bytes', '65536');
    const send = client(t, dataDir);
    for (const [name, revision] of acknowledged) {
      const { code, text } = await send('GET', `${ROUTERS}/${name}`);
      assert.equal(code, 200, `${name} of revision ${revision}`);
      const { metadata } = JSON.parse(text) as { metadata: { resourceVersion: string } };
      assert.equal(Number(metadata.resourceVersion), revision);
    }
    let isKilled = false;
    const writer = async (number: number): Promise<void> => {
      for (let at = 0; !isKilled; at++) {
        const name = `r${round}-${number}-${at}`;
        try {
          const { code, text } = await send('POST', ROUTERS, router(name));
          assert.equal(code, 201);
          const { metadata } = JSON.parse(text) as { metadata: { resourceVersion: string } };
          acknowledged.set(name, Number(metadata.resourceVersion));
        } catch (err) {
          if (!isKilled) throw err;
        }
      }
    };
    const before = acknowledged.size;
    const writers = Array.from({ length: 8 }, (_, number) => writer(number));
    await waitFor(() => acknowledged.size > before + 150, { what: '150 acknowledged writes' });
    isKilled = true;
    await server.kill();
    await Promise.all(writers);
  }
  assert.equal(new Set(acknowledged.values()).size, acknowledged.size, 'no revision was given twice');
  await start(t, dataDir);
  const { text } = await client(t, dataDir)('GET', ROUTERS);
  const names = new Set(
    (JSON.parse(text) as { items: { metadata: { name: string } }[] }).items.map(
      ({ metadata }) => metadata.name,
    ),
  );
  assert.deepEqual(
    [...acknowledged.keys()].filter((name) => !names.has(name)),
    [],
  );
});

test('a second server on the same directory is refused with the pid of the first', async (t) => {
  const dataDir = tempDir(t);
  const first = await start(t, dataDir);
  const second = await runEdge(['apiserver', '--data-dir', dataDir, '--listen', '127.0.0.1:0']);
  assert.equal(second.status, 1);
  assert.match(
    second.stderr,
    new RegExp(`error: .*in use by another edge apiserver \\(pid ${first.pid}\\)`, 'u'),
  );
  await first.kill();
  const third = await start(t, dataDir);
  await third.stop();
});

test('SIGTERM ends watches cleanly and quickly', async (t) => {
  const dataDir = tempDir(t);
  const server = await start(t, dataDir, '--drain-timeout', '10m');
  const send = client(t, dataDir);
  let watch: Promise<Answer> | undefined;
  await new Promise<void>((resolve, reject) => {
    watch = send('GET', `${ROUTERS}?watch=true`, undefined, undefined, resolve);
    watch.catch(reject);
  });
  assert.equal((await server.stop()).status, 0); // which waits for less than the drain may take
  assert.equal((await watch)?.code, 200);
});

test('plain HTTP on loopback needs no credentials; a unix socket gives the sidecar role', async (t) => {
  const dataDir = tempDir(t);
  const socketPath = join(dataDir, 'api.sock');
  const first = await start(t, dataDir, '--insecure-http', '--socket', socketPath);
  assert.equal(statSync(socketPath).mode & 0o777, 0o660);
  const { server } = readKubeconfig(dataDir, 'admin').clusters[0]?.cluster ?? { server: '' };
  assert.match(server, /^http:\/\/127\.0\.0\.1:\d+$/u);
  const created = await fetch(`${server}${ROUTERS}`, {
    method: 'POST',
    body: JSON.stringify(router('r1')),
    headers: { 'content-type': 'application/json' },
  });
  assert.equal(created.status, 201);
  const bySocket = (method: string, path: string): Promise<number> =>
    new Promise((resolve, reject) => {
      httpRequest({ socketPath, method, path, agent: false }, (response) =>
        resolve(response.resume().statusCode ?? 0),
      )
        .on('error', reject)
        .end();
    });
  assert.equal(await bySocket('GET', `${ROUTERS}/r1`), 200);
  assert.equal(await bySocket('DELETE', `${ROUTERS}/r1`), 403);
  await first.kill();
  assert.ok(existsSync(socketPath), 'the killed server left its socket');
  await start(t, dataDir, '--insecure-http', '--socket', socketPath);
  assert.equal(await bySocket('GET', `${ROUTERS}/r1`), 200);
});

test('tokens, the audit log and metrics', async (t) => {
  const dataDir = tempDir(t);
  const tokens = join(dataDir, 'tokens.csv');
  const auditLog = join(dataDir, 'audit.log');
  writeFileSync(tokens, 'sesame-1,ops,,"admin"\n');
  const metricsPort = await freePort();
  const server = await start(
    t,
    dataDir,
    '--token-auth-file',
    tokens,
    '--audit-log',
    auditLog,
    '--metrics-addr',
    `127.0.0.1:${metricsPort}`,
  );
  const { clusters } = readKubeconfig(dataDir, 'admin');
  const ca = Buffer.from(clusters[0]?.cluster['certificate-authority-data'] ?? '', 'base64');
  const send = (token: string | undefined, method: string, path: string, body?: unknown): Promise<number> =>
    new Promise((resolve, reject) => {
      const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
      httpsRequest(
        `${clusters[0]?.cluster.server}${path}`,
        { method, ca, headers, agent: false },
        (response) => resolve(response.resume().statusCode ?? 0),
      )
        .on('error', reject)
        .end(body === undefined ? undefined : JSON.stringify(body));
    });
  assert.equal(await send(undefined, 'GET', ROUTERS), 401);
  assert.equal(await send('wrong', 'GET', ROUTERS), 401);
  assert.equal(await send(undefined, 'GET', '/readyz'), 200);
  assert.equal(await send('sesame-1', 'POST', ROUTERS, router('r1')), 201);
  writeFileSync(tokens, 'sesame-2,ops,,"sidecar"\n');
  server.signal('SIGHUP');
  await waitFor(async () => (await send('sesame-2', 'GET', ROUTERS)) === 200, {
    what: 'the new token works',
  });
  assert.equal(await send('sesame-1', 'GET', ROUTERS), 401);
  const metrics = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  assert.match(metrics, /^edge_store_revision 2$/mu);
  assert.match(metrics, /^edge_apiserver_requests_total\{verb="create",resource="routers",code="201"\} 1$/mu);
  const read = (): Record<string, unknown>[] =>
    readFileSync(auditLog, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  // an entry is written after its request was answered, and the last one may be there in part
  const entries = await waitFor(() => (read().some(({ verb }) => verb === 'create') ? read() : undefined), {
    what: 'the entry of the write',
  });
  assert.deepEqual(
    entries
      .filter((entry) => entry['verb'] === 'create')
      .map((entry) => [entry['user'], entry['resource'], entry['name'], entry['code']]),
    [['ops', 'routers', 'r1', 201]],
  );
  assert.ok(
    entries.some((entry) => entry['code'] === 401),
    'denied requests are there too',
  );
  assert.ok(
    !`${server.stderr}${readFileSync(auditLog, 'utf8')}`.includes('sesame'),
    'no token is written anywhere',
  );
});

test('mistakes end with one clear line and the right status', async (t) => {
  const dir = tempDir(t);
  const busy = createServer();
  await new Promise<void>((resolve) => {
    busy.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => busy.close());
  const { port } = busy.address() as AddressInfo;
  writeFileSync(join(dir, 'file'), '');
  mkdirSync(join(dir, 'd'));
  const cases: [string[], number, RegExp][] = [
    [['--nonsense'], 2, /unknown option '--nonsense'/u],
    [['--listen', 'nowhere'], 2, /--listen: "nowhere" is not an address/u],
    [['--insecure-http', '--listen', '0.0.0.0:0'], 2, /0\.0\.0\.0:0 is not a loopback address/u],
    [['--tls-cert', 'x'], 2, /--tls-cert and --tls-key go together/u],
    [['--tls-cert', join(dir, 'file'), '--tls-key', join(dir, 'none')], 2, /holds no PEM certificate/u],
    [
      ['--token-auth-file', join(dir, 'none')],
      2,
      /--token-auth-file: cannot read .*none: no such file or directory/u,
    ],
    [
      ['--listen', `127.0.0.1:${port}`],
      1,
      new RegExp(`listen on 127\\.0\\.0\\.1:${port}: .*address already in use`, 'u'),
    ],
    [['--data-dir', join(dir, 'file')], 1, /data directory/u],
  ];
  for (const [args, status, pattern] of cases) {
    const result = await runEdge([
      'apiserver',
      '--data-dir',
      join(dir, 'd'),
      '--listen',
      '127.0.0.1:0',
      ...args,
    ]);
    assert.equal(result.status, status, `${args.join(' ')}: ${result.stderr}`);
    assert.match(result.stderr, pattern);
    assert.doesNotMatch(result.stderr, /^\s+at /mu, 'no stack trace');
  }
  const help = await runEdge(['apiserver', '--help']);
  assert.equal(help.status, 0);
  assert.match(help.stdout, /--insecure-http/u);
});

test('a damaged checkpoint is refused with the file and what to do', async (t) => {
  const dataDir = tempDir(t);
  const first = await start(t, dataDir);
  await client(t, dataDir)('POST', ROUTERS, router('r1'));
  await first.stop();
  const { readdirSync } = await import('node:fs');
  const name = readdirSync(join(dataDir, 'store')).find((entry) => entry.startsWith('checkpoint-'));
  assert.ok(name !== undefined);
  const path = join(dataDir, 'store', name);
  const image = readFileSync(path);
  image[2000] = (image[2000] ?? 0) ^ 0xff;
  writeFileSync(path, image);
  const second = startEdge(t, ['apiserver', '--data-dir', dataDir, '--listen', '127.0.0.1:0']);
  await second.assertExit(1);
  assert.match(second.stderr, /error: .*checkpoint-.*damaged checkpoint/u);
  assert.match(second.stderr, /hint: restore the file from a backup/u);
});
