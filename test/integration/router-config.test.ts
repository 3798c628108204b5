/** `edge router --config FILE`: frps's configuration files without an API server, for real clients. */
import assert from 'node:assert/strict';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { runEdge, startEdge, startEdgeReady } from '../support/edge-process.ts';
import { ask, listenTcp, listenVisitor, publish, startClient } from '../support/frp-pair.ts';
import { freePorts } from '../support/ports.ts';
import { startProcess } from '../support/processes.ts';
import { requireProgram } from '../support/programs.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

function configFile(t: TestContext, text: string, name = 'frps.toml'): string {
  const path = join(tempDir(t), name);
  writeFileSync(path, text);
  return path;
}

/** Replaces a file in one step, as editors and configuration tools do. */
function replace(path: string, text: string): void {
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
}

/** A service that answers everything with `hello`. */
function startService(t: TestContext): Promise<number> {
  return listenTcp(t, (socket) => {
    socket.resume();
    socket.on('end', () => socket.end('hello'));
  });
}

async function bindPortAt(web: number): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${web}/api/serverinfo`);
  return ((await answer.json()) as { bindPort: number }).bindPort;
}

for (const [name, text] of [
  ['frps.toml', 'bindAddr = "127.0.0.1"\nbindPort = {{ .Envs.TEST_PORT }}\nauth.token = "secret"\n'],
  ['frps.yaml', 'bindAddr: 127.0.0.1\nbindPort: {{ .Envs.TEST_PORT }}\nauth:\n  token: secret\n'],
  ['frps.json', '{"bindAddr":"127.0.0.1","bindPort":{{ .Envs.TEST_PORT }},"auth":{"token":"secret"}}'],
] as const) {
  test(`a router with ${name} and no API server carries connections`, async (t) => {
    const [port = 0] = await freePorts(1);
    const file = configFile(t, text, name);
    const router = await startEdgeReady(t, ['router', '--config', file], {
      env: { TEST_PORT: String(port) },
    });
    const provider = await startClient(t, port);
    await publish(provider, await startService(t));
    const visitor = await listenVisitor(t, await startClient(t, port));
    assert.equal((await ask(visitor, 'x')).toString(), 'hello');
    assert.ok(!router.stderr.includes('secret'));
    assert.deepEqual(await router.stop(), { status: 0, signal: null });
  });
}

test('a changed file is in force at once with SIGHUP and soon without, and sessions stay', async (t) => {
  const [port = 0, other = 0, web = 0, otherWeb = 0] = await freePorts(4);
  const text = (bindPort: number, webPort: number): string =>
    `bindAddr = "127.0.0.1"\nproxyBindAddr = "127.0.0.1"\nbindPort = ${bindPort}\nauth.token = "secret"\nwebServer.port = ${webPort}\n`;
  const file = configFile(t, text(port, web));
  const router = await startEdgeReady(t, ['router', '--config', file]);
  const client = await startClient(t, port);
  await publish(client, await startService(t));
  assert.equal(await bindPortAt(web), port);

  replace(file, text(port, otherWeb));
  router.signal('SIGHUP');
  await router.waitForLine(/ reloaded/u);
  await waitFor(async () => (await bindPortAt(otherWeb).catch(() => 0)) === port, {
    what: 'the new dashboard',
  });

  replace(file, text(other, otherWeb));
  await waitFor(async () => (await bindPortAt(otherWeb).catch(() => 0)) === other, { what: 'the new port' });
  assert.equal(client.phase, 'online');
  const visitor = await listenVisitor(t, await startClient(t, other));
  assert.equal((await ask(visitor, 'x')).toString(), 'hello');

  replace(file, 'bindPort = "seven"\n');
  router.signal('SIGHUP');
  await router.waitForLine(/reload failed.*bindPort: wants a whole number/u);
  assert.equal((await ask(visitor, 'x')).toString(), 'hello');
  await router.stop();
});

test('a real frpc logs in, and with the token of the flag when one is given', async (t) => {
  const frpc = requireProgram(t, 'frpc', { optional: true });
  if (frpc === undefined) return;
  const [port = 0, remotePort = 0] = await freePorts(2);
  const file = configFile(t, `bindPort = ${port}\nproxyBindAddr = "127.0.0.1"\nauth.token = "from-file"\n`);
  const tokenFile = configFile(t, 'from-flag\n', 'token');
  await startEdgeReady(t, ['router', '-c', file, '--token-file', tokenFile]);
  const client = configFile(
    t,
    `serverPort = ${port}\nauth.token = "from-flag"\n[[proxies]]\nname = "p"\ntype = "tcp"\nlocalPort = ${await startService(t)}\nremotePort = ${remotePort}\n`,
    'frpc.toml',
  );
  const process = startProcess(t, frpc, ['-c', client]);
  await waitFor(() => process.stdout.includes('start proxy success'), { what: 'the proxy of frpc' });
});

test('a check says that the syntax is ok, or what is wrong, in one line', async (t) => {
  const good = configFile(t, 'bindPort = 7000\n');
  for (const args of [
    ['router', '--config', good, '--check'],
    ['router', 'verify', '-c', good],
  ]) {
    const result = await runEdge(args);
    assert.deepEqual(result, { status: 0, stdout: `${good}: syntax is ok\n`, stderr: '' });
  }
  const bad = configFile(t, 'bnidPort = 7000\n');
  const result = await runEdge(['router', '--config', bad, '--check']);
  assert.equal(result.status, 1);
  assert.equal(result.stdout, '');
  assert.equal(result.stderr, `error: ${bad}: bnidPort: unknown key; did you mean "bindPort"?\n`);
});

test('a file that is wrong from the start ends the program', async (t) => {
  const router = startEdge(t, ['router', '--config', configFile(t, 'quicBindPort = 7000\n')]);
  await router.assertExit(1);
  assert.match(router.stderr, /quicBindPort: QUIC is not supported/u);
});

for (const args of [
  ['--server', 'http://127.0.0.1:1'],
  ['--kubeconfig', '/none'],
  ['--server-token-file', '/none'],
  ['--advertise-address', '192.0.2.1'],
]) {
  test(`${args[0]} beside --config is a wrong usage`, async (t) => {
    const result = await runEdge(['router', '--config', configFile(t, ''), ...args]);
    assert.equal(result.status, 2);
    assert.match(result.stderr, new RegExp(`^error: ${args[0]}: is not used with --config`, 'u'));
  });
}

test('a check without a file is a wrong usage', async () => {
  assert.equal((await runEdge(['router', '--check'])).status, 2);
  assert.equal((await runEdge(['router', 'verify'])).status, 2);
});

test('the log goes where the file says, at its level', async (t) => {
  const [port = 0] = await freePorts(1);
  const log = join(tempDir(t), 'frps.log');
  const file = configFile(
    t,
    `bindAddr = "127.0.0.1"\nbindPort = ${port}\nlog.to = "${log}"\nlog.level = "debug"\n`,
  );
  const router = startEdge(t, ['router', '--config', file]);
  await waitFor(
    () => {
      try {
        return readFileSync(log, 'utf8').includes('ready');
      } catch {
        return false; // not there yet
      }
    },
    { what: 'the log file' },
  );
  assert.equal(router.stderr, '');
  await router.stop();
});
