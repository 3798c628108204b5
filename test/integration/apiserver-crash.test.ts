/**
 * The API server against a hostile machine: killed in the middle of writes, frozen, out of disk, read-only. What was
 * acknowledged is there afterwards, and nothing half done is ever seen. EDGE_CRASH_ROUNDS sets how many kills.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rmSync, statSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { runEdge, startEdge, startEdgeReady } from '../support/edge-process.ts';
import type { TestProcess } from '../support/processes.ts';
import { freePort } from '../support/ports.ts';
import { createRandom } from '../support/random.ts';
import { mountTmpfs } from '../support/small-disk.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

const ROUTERS = '/apis/edge.example.com/v1/routers';
const ROUNDS = Number(process.env['EDGE_CRASH_ROUNDS'] ?? 4);
const SEED = Number(process.env['EDGE_CRASH_SEED'] ?? Date.now() % 2 ** 31);
const WRITERS = 24;
const NAMES_A_WRITER = 6;

interface StoredRouter {
  metadata: { name: string; resourceVersion: string; labels?: { serial?: string } };
  spec: { frps: { bindPort: number } };
}

interface Answer {
  code: number;
  text: string;
}

type Send = (method: string, path: string, body?: unknown, type?: string) => Promise<Answer>;

function client(t: TestContext, port: number): Send {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  t.after(() => agent.destroy());
  return (method, path, body, type = 'application/json') =>
    new Promise((resolve, reject) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const headers =
        text === undefined ? {} : { 'content-type': type, 'content-length': Buffer.byteLength(text) };
      const outgoing = request({ port, host: '127.0.0.1', method, path, agent, headers }, (response) => {
        let answer = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk));
        response
          .on('end', () => resolve({ code: response.statusCode ?? 0, text: answer }))
          .on('error', reject);
        response.on('aborted', () => reject(new Error('aborted')));
      });
      outgoing.on('error', reject);
      outgoing.end(text);
    });
}

function start(t: TestContext, dataDir: string, port: number, ...args: string[]): Promise<TestProcess> {
  return startEdgeReady(
    t,
    [
      'apiserver',
      '--data-dir',
      dataDir,
      '--listen',
      `127.0.0.1:${port}`,
      '--insecure-http',
      '--node',
      'node-1',
      ...args,
    ],
    { timeoutMs: 60_000 },
  );
}

/** The serial stands in a label and, cut to a port, in the spec: one without the other is half a write. */
function router(name: string, serial: number): unknown {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name, labels: { serial: String(serial) } },
    spec: { frps: { bindPort: 1 + (serial % 60_000) } },
  };
}

/** What may be there: the last acknowledged serial of a name, and that of a write whose answer never came. */
interface Known {
  acknowledged: number | undefined;
  revision: number;
  /** `null` for a delete under way. */
  pending: { serial: number | null } | undefined;
}

/** Writers with names of their own, so that what each name must hold is known exactly. */
class World {
  readonly known = new Map<string, Known>();
  readonly #random: () => number;
  acknowledgedWrites = 0;
  isStopping = false;
  #serial = 0;

  constructor(random: () => number) {
    this.#random = random;
  }

  async write(send: Send, writer: number): Promise<void> {
    while (!this.isStopping) {
      const name = `w${writer}-${Math.floor(this.#random() * NAMES_A_WRITER)}`;
      const known: Known = this.known.get(name) ?? {
        acknowledged: undefined,
        revision: 0,
        pending: undefined,
      };
      this.known.set(name, known);
      const serial = ++this.#serial;
      const isDelete = known.acknowledged !== undefined && this.#random() < 0.2;
      known.pending = { serial: isDelete ? null : serial };
      let answer: Answer;
      try {
        if (isDelete) answer = await send('DELETE', `${ROUTERS}/${name}`);
        else if (known.acknowledged === undefined) answer = await send('POST', ROUTERS, router(name, serial));
        else {
          const patch = {
            metadata: { labels: { serial: String(serial) } },
            spec: { frps: { bindPort: 1 + (serial % 60_000) } },
          };
          answer = await send('PATCH', `${ROUTERS}/${name}`, patch, 'application/merge-patch+json');
        }
      } catch (err) {
        if (this.isStopping) return;
        throw err;
      }
      assert.ok(answer.code < 300, `${name}: ${answer.code} ${answer.text.slice(0, 300)}`);
      known.pending = undefined;
      known.acknowledged = isDelete ? undefined : serial;
      if (!isDelete) {
        const { metadata } = JSON.parse(answer.text) as StoredRouter;
        known.revision = Number(metadata.resourceVersion);
      }
      this.acknowledgedWrites++;
    }
  }

  /** Compares everything with what the server has now, and takes its word where a write's answer was lost. */
  async check(send: Send): Promise<void> {
    const { code, text } = await send('GET', ROUTERS);
    assert.equal(code, 200);
    const list = JSON.parse(text) as { metadata: { resourceVersion: string }; items: StoredRouter[] };
    const found = new Map(list.items.map((item) => [item.metadata.name, item]));
    for (const name of found.keys()) assert.ok(this.known.has(name), `${name} was never written`);
    const revisions = new Set<string>();
    for (const [name, known] of this.known) {
      const item = found.get(name);
      const serial = item === undefined ? undefined : Number(item.metadata.labels?.serial);
      if (item !== undefined) {
        assert.equal(item.spec.frps.bindPort, 1 + ((serial ?? 0) % 60_000), `${name} is half written`);
        assert.ok(!revisions.has(item.metadata.resourceVersion), 'no revision stands twice');
        revisions.add(item.metadata.resourceVersion);
        assert.ok(Number(item.metadata.resourceVersion) <= Number(list.metadata.resourceVersion));
        if (serial === known.acknowledged)
          assert.equal(Number(item.metadata.resourceVersion), known.revision);
      }
      const pending = known.pending === undefined ? [] : [known.pending.serial ?? undefined];
      const allowed = [known.acknowledged, ...pending];
      assert.ok(
        allowed.includes(serial),
        `seed ${SEED}: ${name} holds ${serial}, wanted ${allowed.join(' or ')}`,
      );
      known.acknowledged = serial;
      known.revision = Number(item?.metadata.resourceVersion ?? 0);
      known.pending = undefined;
    }
  }
}

test(
  'kill -9 at random moments of concurrent writes loses nothing that was acknowledged',
  { timeout: 7_200_000 },
  async (t) => {
    const random = createRandom(SEED);
    const dataDir = tempDir(t);
    const port = await freePort();
    const send = client(t, port);
    const world = new World(random);
    for (let round = 0; round < ROUNDS; round++) {
      // a small journal, so that kills also hit rotations and checkpoints
      const server = await start(t, dataDir, port, '--journal-bytes', '65536');
      await world.check(send);
      world.isStopping = false;
      const before = world.acknowledgedWrites;
      const writers = Array.from({ length: WRITERS }, (_, number) => world.write(send, number));
      const wanted = before + 20 + Math.floor(random() * 400);
      await Promise.race([
        waitFor(() => world.acknowledgedWrites >= wanted, {
          what: `${wanted} writes`,
          timeoutMs: 60_000,
          intervalMs: 2,
        }),
        Promise.all(writers), // a writer that fails ends the wait
      ]);
      world.isStopping = true;
      await server.kill();
      await Promise.all(writers);
      if (round % 10 === 0) {
        const checked = await runEdge(['apiserver', '--check-db', '--data-dir', dataDir]);
        assert.equal(checked.status, 0, checked.stdout);
      }
    }
    await start(t, dataDir, port);
    await world.check(send);
    t.diagnostic(`${ROUNDS} kills, ${world.acknowledgedWrites} acknowledged writes, seed ${SEED}`);
  },
);

test('a frozen server goes on where it was, and nobody else takes its directory meanwhile', async (t) => {
  const dataDir = tempDir(t);
  const port = await freePort();
  const send = client(t, port);
  const server = await start(t, dataDir, port);
  const world = new World(createRandom(SEED));
  const writers = Array.from({ length: 4 }, (_, number) => world.write(send, number));
  await waitFor(() => world.acknowledgedWrites > 20, { what: 'writes' });
  for (let freeze = 0; freeze < 3; freeze++) {
    server.signal('SIGSTOP');
    const second = await runEdge([
      'apiserver',
      '--data-dir',
      dataDir,
      '--listen',
      '127.0.0.1:0',
      '--insecure-http',
    ]);
    assert.equal(second.status, 1);
    assert.match(second.stderr, new RegExp(`in use by another edge apiserver \\(pid ${server.pid}\\)`, 'u'));
    const before = world.acknowledgedWrites;
    server.signal('SIGCONT');
    await waitFor(() => world.acknowledgedWrites > before + 20, { what: 'writes go on' });
  }
  world.isStopping = true;
  await Promise.all(writers);
  await world.check(send);
  await server.stop();
});

test('a full disk fails writes clearly, not reads, and they work again when there is room', async (t) => {
  const mounted = mountTmpfs(t, 4 * 1024 * 1024);
  if ('why' in mounted) {
    t.skip(mounted.why);
    return;
  }
  const { dir } = mounted;
  const port = await freePort();
  const send = client(t, port);
  const server = await start(t, join(dir, 'data'), port);
  writeFileSync(join(dir, 'filler'), Buffer.alloc(2 * 1024 * 1024));
  const stored: string[] = [];
  let refusal: Answer | undefined;
  for (let at = 0; refusal === undefined; at++) {
    assert.ok(at < 5000, 'the disk never fills up');
    const name = `r${at}`;
    const big = router(name, at) as { metadata: object };
    const body = { ...big, metadata: { ...big.metadata, annotations: { pad: 'x'.repeat(20_000) } } };
    const answer = await send('POST', ROUTERS, body);
    if (answer.code === 201) stored.push(name);
    else refusal = answer;
  }
  assert.equal(refusal.code, 507, refusal.text);
  assert.match(refusal.text, /no space left on device/u);
  assert.equal((await send('GET', `${ROUTERS}/${stored[0] ?? ''}`)).code, 200, 'reads go on');
  rmSync(join(dir, 'filler'));
  assert.equal((await send('POST', ROUTERS, router('after', 1))).code, 201);
  await server.kill();
  await start(t, join(dir, 'data'), port);
  for (const name of [...stored, 'after'])
    assert.equal((await send('GET', `${ROUTERS}/${name}`)).code, 200, name);
});

test('a directory that becomes read-only fails writes, and a start in one says so', async (t) => {
  const mounted = mountTmpfs(t, 16 * 1024 * 1024);
  if ('why' in mounted) {
    t.skip(mounted.why);
    return;
  }
  const { dir } = mounted;
  const port = await freePort();
  const send = client(t, port);
  const dataDir = join(dir, 'data');
  const server = await start(t, dataDir, port);
  assert.equal((await send('POST', ROUTERS, router('r1', 1))).code, 201);
  await server.kill();
  execFileSync('mount', ['-o', 'remount,ro', dir]);
  const refused = startEdge(t, [
    'apiserver',
    '--data-dir',
    dataDir,
    '--listen',
    `127.0.0.1:${port}`,
    '--insecure-http',
  ]);
  await refused.assertExit(1);
  assert.match(refused.stderr, /error: .*read-only file system/u);
  const checked = await runEdge(['apiserver', '--check-db', '--data-dir', dataDir]);
  assert.equal(checked.status, 0, `${checked.stdout}${checked.stderr}`);
  execFileSync('mount', ['-o', 'remount,rw', dir]);
  await start(t, dataDir, port);
  assert.equal((await send('GET', `${ROUTERS}/r1`)).code, 200);
  assert.ok(statSync(join(dataDir, 'store')).isDirectory());
});
