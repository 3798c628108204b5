/** `edge sidecar` beside `edge apiserver`, without a tunnel: names, readiness, files, child, signals, mistakes. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { runEdge, startEdge } from '../support/edge-process.ts';
import { freePort } from '../support/ports.ts';
import { startNode } from '../support/sidecar-world.ts';
import { tempDir } from '../support/temp-dir.ts';

test('mapped names answer, the others fail or go on, and SIGTERM ends it well', async (t) => {
  const node = await startNode(t);
  const sidecar = await node.startSidecar('pod-1', {
    SIDECAR_MAPPED_SERVICES: 'mysql:13306,redis.cache:16379,db.prod.west.example:13317',
    SIDECAR_DNS_UPSTREAM: '127.0.0.9:1',
  });
  await sidecar.until(
    ({ phase, services }) =>
      phase === 'ready' && services.every(({ ports }) => ports[0]?.state === 'listening'),
    'ready',
  );
  const { services } = await sidecar.status();
  const [mysql, redis, db] = services;
  assert.match(mysql?.address ?? '', /^127\.0\.66\.\d+$/u);
  for (const name of [
    'mysql',
    'mysql.default',
    'mysql.default.svc',
    'mysql.default.svc.cluster.local',
    'MySQL.default.svc.cluster.local',
  ]) {
    assert.equal(await sidecar.resolve(name), mysql?.address, name);
  }
  assert.equal(await sidecar.resolve('redis.cache.svc'), redis?.address);
  for (const name of ['db.prod', 'db.prod.svc', 'db.prod.svc.west.example', 'db.prod.west.example'])
    assert.equal(await sidecar.resolve(name), db?.address, name);
  assert.equal(await sidecar.resolve('nothing.mysql.default.svc.cluster.local'), 'rcode 3');
  assert.equal((await sidecar.get('/readyz')).status, 200);
  assert.match(
    (await sidecar.get('/metrics')).text,
    /edge_sidecar_dns_queries_total\{[^}]*handler="zone"[^}]*\} [1-9]/u,
  );
  assert.deepEqual(await sidecar.process.stop(), { status: 0, signal: null });
});

test('after a restart without the API server it is ready with the same addresses', async (t) => {
  const node = await startNode(t);
  await node.createRouter('node-1');
  const env = { SIDECAR_MAPPED_SERVICES: 'mysql:13307' };
  const before = await node.startSidecar('pod-1', env);
  const address = await before.until(
    ({ phase, routers, services }) => phase === 'ready' && routers.length > 0 && services[0]?.address,
    'ready',
  );
  await before.process.stop();
  await node.apiserver.kill();
  const after = await node.startSidecar('pod-1', { ...env, SIDECAR_CACHE_DIR: before.cacheDir });
  const status = await after.until(
    (now) => (now.phase === 'ready' ? now : undefined),
    'ready from the cache',
  );
  assert.equal(status.apiserver.fromCache, true);
  assert.equal(status.services[0]?.address, address);
  assert.equal(status.routers[0]?.name, 'node-1');
  assert.equal(await after.resolve('mysql'), address);
});

test('a taken address is the trouble of its service alone, and is tried again until it is free', async (t) => {
  const node = await startNode(t);
  const env = { SIDECAR_MAPPED_SERVICES: 'mysql:13315,redis:13316' };
  const first = await node.startSidecar('pod-1', env);
  const host = await first.until(
    ({ phase, services }) => phase === 'ready' && services[0]?.address,
    'an address',
  );
  await first.process.stop();
  const blocker = createServer().listen({ port: 13_315, host });
  t.after(() => blocker.close());
  await once(blocker, 'listening');
  const second = await node.startSidecar('pod-1', { ...env, SIDECAR_CACHE_DIR: first.cacheDir });
  const taken = await second.until(
    ({ services: [mysql, redis] }) =>
      redis?.ports[0]?.state === 'listening' && mysql?.state === 'failed' && mysql.ports[0]?.error,
    'one that failed and one that listens',
  );
  assert.equal(taken, `listen on ${host}:13315: address already in use`);
  assert.equal(await second.resolve('redis'), (await second.status()).services[1]?.address);
  blocker.close();
  await second.until(({ services }) => services[0]?.ports[0]?.state === 'listening', 'the address is free');
  assert.equal(await second.resolve('mysql'), host);
});

test('configuration and imports are applied when their files change, and kept when they are wrong', async (t) => {
  const node = await startNode(t);
  const dir = tempDir(t);
  const [config, imports] = [join(dir, 'sidecar.yaml'), join(dir, 'imports.yaml')];
  writeFileSync(config, 'mappedServices: [one:13308]\n');
  writeFileSync(imports, 'services: []\n');
  const sidecar = await node.startSidecar('pod-1', { SIDECAR_CONFIG: config, SIDECAR_IMPORTS_FILE: imports });
  const hasServices = (...names: string[]) =>
    sidecar.until(
      ({ services }) => services.map(({ name }) => name).join() === names.join(),
      `services ${names.join()}`,
    );
  await hasServices('one');
  writeFileSync(imports, 'services: [{name: two, ports: [{port: 13309}]}]\n');
  await hasServices('one', 'two');
  writeFileSync(config, 'mappedServices: [one:13308, three:13310]\n');
  await hasServices('one', 'three', 'two');
  writeFileSync(config, 'mappedServices: [one:bad]\n');
  await sidecar.process.waitForLine(/configuration changed but is wrong.*one:bad/u);
  await hasServices('one', 'three', 'two');
  writeFileSync(config, 'mappedServices: [three:13310]\n');
  sidecar.process.signal('SIGHUP');
  await hasServices('three', 'two');
});

test('a command runs once the sidecar is ready, gets signals, and its status is the sidecar’s', async (t) => {
  const node = await startNode(t);
  const script =
    "process.on('SIGTERM', () => console.log('ending')); process.on('SIGQUIT', () => process.exit(42)); process.on('SIGUSR2', () => console.log('got it')); console.log('started'); setInterval(() => {}, 1000)";
  const world = await node.startSidecar('pod-1', {}, [process.execPath, '-e', script]);
  const sidecar = world.process;
  await sidecar.waitForLine(/^started$/u);
  sidecar.signal('SIGUSR2');
  await sidecar.waitForLine(/^got it$/u);
  assert.equal((await world.get('/readyz')).status, 200);
  sidecar.signal('SIGTERM');
  await sidecar.waitForLine(/^ending$/u);
  assert.equal((await world.get('/readyz')).status, 503); // from the first signal on, while the command takes its time
  sidecar.signal('SIGQUIT');
  await sidecar.assertExit(42);
});

test('a command that dies of a signal, or cannot be started, ends the sidecar as a shell would', async (t) => {
  const node = await startNode(t);
  // not by startSidecar, which waits for the admin surface: these may have ended before they are asked
  const env = { SIDECAR_DNS_ADDR: '127.0.0.2:0', SIDECAR_ADMIN_ADDR: 'off' };
  const start = (...command: string[]) =>
    startEdge(t, ['sidecar', '--server', node.server, '--data-dir', tempDir(t), '--', ...command], { env });
  await start(process.execPath, '-e', "process.kill(process.pid, 'SIGKILL')").assertExit(137);
  await start('/nonexistent/program').assertExit(127);
});

test('a command waits for readiness', async (t) => {
  const port = await freePort();
  const child = startEdge(
    t,
    ['sidecar', '--server', `http://127.0.0.1:${port}`, '--data-dir', tempDir(t), '--', 'echo', 'too early'],
    {
      env: { SIDECAR_MAPPED_SERVICES: 'web', SIDECAR_DNS_ADDR: 'off', SIDECAR_ADMIN_ADDR: 'off' },
    },
  );
  await child.waitForLine(/lost the API server|cannot reach/u);
  assert.doesNotMatch(child.stdout, /too early/u);
  assert.deepEqual(await child.stop(), { status: 0, signal: null });
  assert.doesNotMatch(child.stdout, /too early/u);
});

test('a taken DNS address is one clear line with a hint, and status 1', async (t) => {
  const squatter = createSocket('udp4');
  const port = await new Promise<number>((resolve) => {
    squatter.bind(0, '127.0.0.2', () => resolve(squatter.address().port));
  });
  t.after(() => void squatter.close());
  const { status, stderr } = await runEdge(
    ['sidecar', '--data-dir', tempDir(t), '--server', 'http://127.0.0.1:1'],
    {
      env: { SIDECAR_DNS_ADDR: `127.0.0.2:${port}`, SIDECAR_ADMIN_ADDR: 'off' },
    },
  );
  assert.equal(status, 1);
  assert.match(
    stderr,
    new RegExp(`error: .*127\\.0\\.0\\.2:${port}.*in use\\nhint: .*SIDECAR_DNS_ADDR`, 'u'),
  );
});

test('mistakes are one line that names them, and status 2', async () => {
  const cases: [Record<string, string>, string[], RegExp][] = [
    [{ SIDECAR_MAPPED_SERVICES: 'ntp:123/sctp' }, [], /protocol "sctp" is neither tcp nor udp/u],
    [{ SIDECAR_MAPPED_SERVICES: 'My_SQL' }, [], /SIDECAR_MAPPED_SERVICES.*"My_SQL"/u],
    [{ SIDECAR_EXPORTED_SERVICES: 'web' }, [], /SIDECAR_EXPORTED_SERVICES.*"web"/u],
    [
      { SIDECAR_MAPPED_SERVICES: 'a,b,c', SIDECAR_IP_RANGE: '127.0.66.0/30' },
      [],
      /127\.0\.66\.0\/30 has 2 usable addresses, 3 services need one: none left for c\.default/u,
    ],
    [{ SIDECAR_DNS_ADDR: 'nowhere' }, [], /SIDECAR_DNS_ADDR.*"nowhere"/u],
    [{}, ['--mapped-service', 'x'], /unknown option '--mapped-service'/u],
    [{}, ['command'], /too many arguments/u],
    [{}, ['--'], /a command is missing/u],
  ];
  for (const [env, args, message] of cases) {
    const { status, stderr } = await runEdge(['sidecar', ...args], { env });
    assert.equal(status, 2, stderr);
    assert.match(stderr.split('\n', 1)[0] ?? '', message);
  }
});
