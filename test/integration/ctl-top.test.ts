/** `edge ctl top` beside a Router, sidecars and steady traffic as real processes, in a pipe and on a terminal. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ROUTERS } from '../../src/api/edge.ts';
import type { Router } from '../../src/api/gen/types.ts';
import { edgePath, runEdge, startEdge } from '../support/edge-process.ts';
import { freePort } from '../support/ports.ts';
import { exchange, startNode, whenServed } from '../support/sidecar-world.ts';
import { startTmux } from '../support/tmux.ts';
import { waitFor } from '../support/wait.ts';

/** What the traffic is, a second: connections, and bytes that each takes there and back. */
const PER_SECOND = 10;
const BYTES = 50_000;
/** Whole seconds of timestamps over ten of them make a tenth, a machine that pauses for three beside a report the rest. */
const TOLERANCE = 0.4;

async function startEcho(t: TestContext): Promise<number> {
  const port = await freePort();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => {
    server.listen(port, '127.0.0.1', resolve);
  });
  t.after(() => void server.close());
  return port;
}

async function startService(t: TestContext) {
  const node = await startNode(t);
  await node.createRouter('node-1');
  const router = node.startRouter('node-1');
  const port = await startEcho(t);
  const secret = { SIDECAR_SECRET_KEY: 's3cret' };
  await node.startSidecar('provider', { ...secret, SIDECAR_EXPORTED_SERVICES: `web=${port}` });
  const consumer = await node.startSidecar('consumer', { ...secret, SIDECAR_MAPPED_SERVICES: 'web' });
  const { address } = await whenServed(consumer, 'web');
  const startGuest = (pod: string) =>
    node.startSidecar(pod, { ...secret, SIDECAR_EXPORTED_SERVICES: `${pod}=${port}` });
  return { node, router, address, port, startGuest };
}

/** Opens connections at a steady pace, also when single ones are late, until the test ends. */
function startTraffic(t: TestContext, address: string, port: number): void {
  const startedAt = performance.now();
  const text = 'x'.repeat(BYTES);
  let begun = 0;
  const timer = setInterval(() => {
    const due = ((performance.now() - startedAt) / 1000) * PER_SECOND;
    for (; begun < due; begun++) exchange(address, port, text).catch(() => {});
  }, 20);
  t.after(() => clearInterval(timer));
}

interface TopRow {
  name: string;
  state: string;
  bytesInPerSecond: number | null;
  bytesOutPerSecond: number | null;
  connectionsPerSecond?: number | null;
  overSeconds: number | null;
  role?: string;
  service?: string;
}

function assertNear(actual: number | null | undefined, wanted: number, what: string): void {
  assert.ok(
    typeof actual === 'number' && Math.abs(actual / wanted - 1) <= TOLERANCE,
    `${what}: ${actual} a second instead of ${wanted}`,
  );
}

test('rates are those of the traffic', async (t) => {
  const { node, address, port, startGuest } = await startService(t);
  startTraffic(t, address, port);
  const steadyAt = Date.now() + 2000;
  // a report tells whole seconds: one that is made a second later still tells a time after `steadyAt`
  await waitFor(() => Date.now() > steadyAt + 1000, { what: 'the traffic is steady' });
  // clients that come and go make the Router report
  const guest = await startGuest('guest');
  const reportedAt = async (): Promise<number> => {
    const router = await node.client.get<Router>(ROUTERS, 'node-1');
    return Date.parse(router.status?.lastHeartbeatTime ?? '');
  };
  await waitFor(async () => (await reportedAt()) > steadyAt, { what: 'a report of the traffic' });
  const tops = ['routers', 'services', 'clients'].map((subject) =>
    runEdge(['ctl', 'top', subject, '-o', 'json', '--wait', '60s', '--server', node.server], {
      timeoutMs: 90_000,
    }),
  );
  const changeAt = Date.now() + 13_000;
  await waitFor(() => Date.now() > changeAt, { what: 'ten seconds between reports' });
  guest.process.signal('SIGTERM');
  const [routers = [], services = [], clients = []] = (await Promise.all(tops)).map(({ stdout, stderr }) => {
    assert.equal(stderr, '');
    return JSON.parse(stdout) as TopRow[];
  });
  const own = routers.find(({ name }) => name === 'node-1');
  assert.equal(own?.state, 'Ready');
  assertNear(own.connectionsPerSecond, PER_SECOND, 'connections');
  const web = services.find(({ name }) => name === 'web.default');
  const sides = clients.filter(({ service }) => service === 'web.default');
  assert.deepEqual(new Set(sides.map(({ role }) => role)), new Set(['provider', 'visitor']));
  for (const row of [own, web, ...sides]) {
    assert.ok((row?.overSeconds ?? 0) >= 10, JSON.stringify(row));
    assertNear(row?.bytesInPerSecond, PER_SECOND * BYTES, `in of ${row?.name}`);
    assertNear(row?.bytesOutPerSecond, PER_SECOND * BYTES, `out of ${row?.name}`);
  }
});

test('totals are printed at once, and a watch goes on', async (t) => {
  const { node, address, port, startGuest } = await startService(t);
  await exchange(address, port, 'x'.repeat(BYTES));
  const ctl = (...args: string[]) => runEdge(['ctl', 'top', ...args, '--server', node.server]);
  const { status, stdout, stderr } = await ctl('--wait=0');
  assert.deepEqual([status, stderr], [0, '']);
  const [header, row] = stdout.split('\n').map((line) => line.split(/ +/u));
  assert.deepEqual(header?.slice(0, 4), ['ROUTER', 'IN/S', 'OUT/S', 'CONN/S']);
  assert.deepEqual(row?.slice(0, 4), ['node-1', '-', '-', '-']);
  assert.doesNotMatch((await ctl('services', 'web', '--wait=0', '--no-headers')).stdout, /SERVICE/u);
  assert.match((await ctl('clients', 'nobody', '--wait=0')).stderr, /^No clients found$/mu);
  assert.match((await ctl('pods')).stderr, /^error: there is no top of "pods"\nhint: /u);
  assert.match((await ctl('--sort-by=size')).stderr, /"size" is not one of rate, /u);
  const watch = startEdge(t, ['ctl', 'top', 'services', '-w', '--interval=200ms', '--server', node.server]);
  await watch.waitForLine(/^web\.default +node-1 +1\/1 /u);
  await startGuest('guest');
  await watch.waitForLine(/^guest\.default +node-1 +1\/1 /u);
  watch.signal('SIGINT');
  await watch.assertExit(130);
});

test('a terminal gets a screen, and is afterwards as it was', async (t) => {
  const { node, router } = await startService(t);
  const tmux = await startTmux(t, { cols: 150, rows: 12 });
  if (tmux === undefined) return;
  const env = { NO_COLOR: '' };
  const command = [process.execPath, edgePath(), 'ctl', 'top', '--server', node.server, '--interval=200ms'];
  await tmux.start(command, env);
  await tmux.waitFor(/Z {3}http:\S+ {3}Routers 1\/1 ready [^]*\n\nROUTER +IN\/S [^]* AGE\nnode-1 .* Ready /u);
  await tmux.resize(40, 12);
  await tmux.waitFor(/^ROUTER +IN\/S +OUT\/S(?!.* AGE)/mu);
  await tmux.resize(150, 12);
  await tmux.waitFor(/^ROUTER .* AGE$/mu);
  node.apiserver.signal('SIGKILL');
  await tmux.waitFor(/!! the API server has not answered for \d+s: this is its last state/u);
  assert.ok((await tmux.screen({ escapes: true })).includes('\u001B[31m!! the API'), 'in colour');
  await node.startApiserver();
  await tmux.waitFor(/ready(?![^]*!! the API)[^]*node-1/u);
  await tmux.keys('C-c');
  await tmux.waitFor(/^ended with 130$/u);
  await tmux.start(command, { ...env, NO_COLOR: '1' });
  await tmux.waitFor(/node-1 .* Ready /u);
  assert.ok(!(await tmux.screen({ escapes: true })).includes('\u001B[3'), 'no colours');
  await tmux.keys('q');
  await tmux.waitFor(/^ended with 0$/u);
  await tmux.type('typed');
  await tmux.waitFor(/^typed\ntyped$/mu); // echoed by the terminal, and by cat
  assert.equal(router.exit, undefined);
});
