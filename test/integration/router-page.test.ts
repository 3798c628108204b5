/** The dashboard's page in a real browser: it shows what the router carries, without errors and without a network. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { startEdgeReady } from '../support/edge-process.ts';
import { ask, listenTcp, listenVisitor, publish, startClient } from '../support/frp-pair.ts';
import { freePorts } from '../support/ports.ts';
import { runProcess } from '../support/processes.ts';
import { requireProgram } from '../support/programs.ts';
import { tempDir } from '../support/temp-dir.ts';

/** The page as the browser has it after its first rounds. EDGE_TEST_SCREENSHOT names a PNG to write besides. */
async function openPage(
  t: TestContext,
  chromium: string,
  url: string,
): Promise<{ dom: string; log: string }> {
  const flags = [
    '--headless',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    `--user-data-dir=${tempDir(t)}`,
    '--window-size=1280,1400',
    '--enable-logging=stderr',
    '--virtual-time-budget=5000',
  ];
  const result = await runProcess(chromium, [...flags, '--dump-dom', url], { timeoutMs: 60_000 });
  assert.equal(result.status, 0, result.stderr);
  const picture = process.env['EDGE_TEST_SCREENSHOT'];
  if (picture !== undefined)
    await runProcess(chromium, [...flags, `--screenshot=${picture}`, url], { timeoutMs: 60_000 });
  return { dom: result.stdout, log: result.stderr };
}

test('the page shows services, proxies, visitors and clients, and names are text', async (t) => {
  const chromium = requireProgram(t, 'chromium');
  if (chromium === undefined) return;
  const [port = 0, web = 0] = await freePorts(2);
  const file = join(tempDir(t), 'frps.toml');
  writeFileSync(
    file,
    `bindAddr = "127.0.0.1"\nbindPort = ${port}\nauth.token = "secret"\nwebServer.port = ${web}\nallowPorts = [{ start = 2000, end = 3000 }]\n`,
  );
  const terminals = 'https://terminals.example.org/terminal/';
  await startEdgeReady(t, ['router', '--config', file, '--node', 'node-1', '--terminal-url', terminals]);
  const service = await listenTcp(t, (socket) => {
    socket.resume();
    socket.on('end', () => socket.end(Buffer.alloc(300_000)));
  });
  const provider = await startClient(t, port, { clientId: 'pod-a' });
  const metas = { service: 'mysql', namespace: 'default', port: '3306', protocol: 'TCP', node: 'node-7' };
  await publish(provider, service, { name: 'mysql.default.pod-a', metas });
  const sshd = { type: 'ssh', uniqueId: 'abc', service: 'ssh-abc', namespace: 'maintenance', node: 'node-9' };
  await publish(provider, service, { name: 'ssh-abc.maintenance.node-9', metas: sshd });
  await publish(provider, service, { name: '<img src=x onerror=alert(1)>' });
  const guest = await startClient(t, port, { clientId: 'guest', metas: { pod: 'app-1' } });
  const visitor = await listenVisitor(t, guest, { proxyName: 'mysql.default.pod-a' });
  assert.equal((await ask(visitor, 'x'.repeat(100))).length, 300_000);

  const { dom, log } = await openPage(t, chromium, `http://127.0.0.1:${web}/static/`);
  assert.match(dom, /<body data-ready="true">/u);
  assert.match(dom, /<h1 id="node">node-1<\/h1>/u);
  assert.match(dom, /class="badge good"[^>]*>serving</u);
  assert.match(dom, /<th[^>]*>mysql\.default<\/th>/u);
  assert.match(dom, /node-7/u);
  assert.match(dom, /<th[^>]*>mysql\.default\.pod-a<\/th>/u);
  assert.match(dom, /<th[^>]*>guest<\/th>/u);
  assert.match(dom, /<th[^>]*>node-9<\/th><td[^>]*><span class="badge good">online</u);
  assert.match(dom, /href="https:\/\/terminals\.example\.org\/terminal\/#nodemaintenances-abc"/u);
  assert.match(dom, /293\.0 KiB/u);
  assert.match(dom, /2000-3000/u);
  assert.match(dom, /&lt;img src=x onerror=alert\(1\)&gt;<\/th>/u);
  assert.doesNotMatch(dom, /<img/u);
  assert.match(dom, /<p id="problem"[^>]* hidden/u);
  assert.doesNotMatch(log, /CONSOLE|Refused to|Uncaught/u);
});
