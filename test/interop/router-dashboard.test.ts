/** The dashboard of our router beside the one of a real frps: same clients, same questions, answers of the same form. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { startEdgeReady } from '../support/edge-process.ts';
import { requireFrp } from '../support/frp-program.ts';
import { freePorts } from '../support/ports.ts';
import { startProcess } from '../support/processes.ts';
import type { TestProcess } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

const BASIC = { authorization: `Basic ${Buffer.from('admin:pw').toString('base64')}` };

interface Side {
  web: number;
  clients: TestProcess[];
  tcpPort: number;
}

function write(t: TestContext, text: string): string {
  const path = join(tempDir(t), 'frp.toml');
  writeFileSync(path, text);
  return path;
}

async function startService(t: TestContext): Promise<number> {
  const server = createServer((_, response) => response.end('hello'.repeat(100)));
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** A server by the same file, and two clients of it: one with a user and an id, one without. */
async function startSide(
  t: TestContext,
  frpc: string,
  service: number,
  startServer: (file: string) => Promise<unknown>,
): Promise<Side> {
  const [port = 0, web = 0, tcpPort = 0, anonPort = 0] = await freePorts(4);
  await startServer(
    write(
      t,
      `bindPort = ${port}
proxyBindAddr = "127.0.0.1"
auth.token = "secret"
webServer.port = ${web}
webServer.user = "admin"
webServer.password = "pw"
enablePrometheus = true
allowPorts = [{ start = 1024, end = 65000 }, { single = 65535 }, { start = 65001, end = 65534 }]
transport.tls.force = true
`,
    ),
  );
  await waitFor(async () => (await fetch(`http://127.0.0.1:${web}/healthz`).catch(() => undefined))?.ok, {
    what: 'the dashboard',
  });
  const head = `serverPort = ${port}\nauth.token = "secret"\n`;
  const known = write(
    t,
    `${head}user = "alice"
clientID = "laptop"
[[proxies]]
name = "web"
type = "tcp"
localPort = ${service}
remotePort = ${tcpPort}
annotations = { "example.org/a" = "b" }
metadatas = { m = "n" }
transport.useEncryption = true
[[proxies]]
name = "db"
type = "stcp"
secretKey = "k"
localPort = ${service}
[[proxies]]
name = "a/b c"
type = "stcp"
secretKey = "k"
localPort = ${service}
`,
  );
  const unknown = write(
    t,
    `${head}[[proxies]]\nname = "anon"\ntype = "tcp"\nlocalPort = ${service}\nremotePort = ${anonPort}\n`,
  );
  const clients = [known, unknown].map((file) => startProcess(t, frpc, ['-c', file]));
  const started = (): number =>
    clients.reduce((sum, { stdout }) => sum + stdout.split('start proxy success').length - 1, 0);
  await waitFor(() => started() === 4, { what: 'four proxies' });
  await (await fetch(`http://127.0.0.1:${tcpPort}/`, { headers: { connection: 'close' } })).text();
  await waitFor(
    async () => {
      const answer = await ask({ web, clients, tcpPort }, 'GET', '/api/proxies/alice.web');
      return /"todayTrafficOut":[1-9]/u.test(answer.body);
    },
    { what: 'counted traffic' },
  );
  return { web, clients, tcpPort };
}

async function ask(side: Side, method: string, path: string, headers: Record<string, string> = BASIC) {
  const answer = await fetch(`http://127.0.0.1:${side.web}${path}`, { method, headers, redirect: 'manual' });
  return {
    status: answer.status,
    type: (answer.headers.get('content-type') ?? '').split(';')[0] ?? '',
    body: await answer.text(),
  };
}

/** The keys and types of a JSON value; for texts that are not JSON, the text. */
function formOf(body: string): unknown {
  try {
    return form(JSON.parse(body));
  } catch {
    return body.trim();
  }
}

function form(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((entry) => form(entry));
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : typeof value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, entry]) => [key, form(entry)]),
  );
}

const QUESTIONS: readonly [string, string][] = [
  ['GET', '/api/serverinfo'],
  ['GET', '/api/clients'],
  ['GET', '/api/clients?status=online&user=alice'],
  ['GET', '/api/clients?status=offline'],
  ['GET', '/api/clients?status=nonsense'],
  ['GET', '/api/clients/alice.laptop'],
  ['GET', '/api/clients/none'],
  ['GET', '/api/proxy/tcp'],
  ['GET', '/api/proxy/stcp'],
  ['GET', '/api/proxy/nonsense'],
  ['GET', '/api/proxy/tcp/alice.web'],
  ['GET', '/api/proxy/udp/alice.web'],
  ['GET', '/api/proxies/alice.web'],
  ['GET', '/api/proxies/none'],
  ['GET', '/api/traffic/alice.web'],
  ['GET', '/api/traffic/none'],
  ['GET', '/api/v2/users'],
  ['GET', '/api/v2/users?q=ALI'],
  ['GET', '/api/v2/system/info'],
  ['GET', '/api/v2/clients'],
  ['GET', '/api/v2/clients?user='],
  ['GET', '/api/v2/clients?page=0'],
  ['GET', '/api/v2/clients?pageSize=201'],
  ['GET', '/api/v2/clients?status=nonsense'],
  ['GET', '/api/v2/clients/alice.laptop'],
  ['GET', '/api/v2/clients/none'],
  ['GET', '/api/v2/proxies'],
  ['GET', '/api/v2/proxies?type=tcp&q=WEB'],
  ['GET', '/api/v2/proxies?page=2&pageSize=3'],
  ['GET', '/api/v2/proxies?type=nonsense'],
  ['GET', '/api/v2/proxies/alice.web'],
  ['GET', '/api/v2/proxies/alice.a%2Fb%20c'],
  ['GET', '/api/v2/proxies/alice.a%2Fb%20c/traffic'],
  ['GET', '/api/v2/proxies/none'],
  ['GET', '/api/v2/system/prune'],
  ['POST', '/api/v2/system/prune'],
  ['POST', '/api/v2/system/prune?type=nonsense'],
  ['POST', '/api/v2/clients'],
  ['POST', '/api/serverinfo'],
  ['HEAD', '/api/serverinfo'],
  ['GET', '/api/proxies'],
  ['DELETE', '/api/proxies'],
  ['GET', '/none'],
  ['GET', '/api/v2/none'],
  ['GET', '/api/serverinfo/'],
  ['POST', '/healthz'],
];

const AFTERWARDS: readonly [string, string][] = [
  ['GET', '/api/clients'],
  ['GET', '/api/serverinfo'],
  ['GET', '/api/proxy/tcp'],
  ['GET', '/api/v2/clients/alice.laptop'],
  ['GET', '/api/v2/proxies'],
  ['GET', '/api/v2/users'],
  ['POST', '/api/v2/system/prune?type=offline_proxies'],
  ['DELETE', '/api/proxies?status=offline'],
  ['GET', '/api/v2/proxies'],
];

/** The series of frp with their labels, without values. */
async function seriesOf(side: Side): Promise<string[]> {
  const { body } = await ask(side, 'GET', '/metrics');
  return body
    .split('\n')
    .filter((line) => /^(?:# (?:HELP|TYPE) )?frp_/u.test(line))
    .map((line) => (line.startsWith('#') ? line : line.replace(/ \S+$/u, '')))
    .sort();
}

test('both dashboards answer in the same form, while clients are there and when they are gone', async (t) => {
  const frps = requireFrp(t, 'frps');
  const frpc = requireFrp(t, 'frpc');
  if (frps === undefined || frpc === undefined) return;
  const service = await startService(t);
  const theirs = await startSide(t, frpc, service, async (file) => startProcess(t, frps, ['-c', file]));
  const ours = await startSide(t, frpc, service, (file) => startEdgeReady(t, ['router', '--config', file]));
  const compare = async (questions: readonly [string, string][], headers?: Record<string, string>) => {
    for (const [method, path] of questions) {
      const [expected, answer] = await Promise.all([
        ask(theirs, method, path, headers),
        ask(ours, method, path, headers),
      ]);
      const what = `${method} ${path}`;
      assert.equal(answer.status, expected.status, what);
      assert.equal(answer.type, expected.type, what);
      assert.deepEqual(formOf(answer.body), formOf(expected.body), what);
      if (expected.status >= 400) assert.equal(answer.body.trim(), expected.body.trim(), what);
    }
  };
  await compare(QUESTIONS);
  await compare(
    [
      ['GET', '/api/serverinfo'],
      ['GET', '/none'],
      ['POST', '/api/serverinfo'],
      ['GET', '/healthz'],
    ],
    {},
  );
  assert.deepEqual(await seriesOf(ours), await seriesOf(theirs));

  for (const client of [...theirs.clients, ...ours.clients]) await client.stop();
  for (const side of [theirs, ours]) {
    await waitFor(async () => (await ask(side, 'GET', '/api/serverinfo')).body.includes('"clientCounts":0'), {
      what: 'no clients',
    });
  }
  assert.deepEqual(await seriesOf(ours), await seriesOf(theirs));
  await compare(AFTERWARDS);
});
