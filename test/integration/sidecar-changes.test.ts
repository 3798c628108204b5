/** What must not disturb a sidecar: files swapped as ConfigMaps are, a restart with everything away, IPv6 applications. */
import assert from 'node:assert/strict';
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { exchange, startNode, whenServed } from '../support/sidecar-world.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

/** A service that sends back what it gets; its port. */
async function startEcho(t: TestContext, host = '127.0.0.1'): Promise<number> {
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
    socket.pipe(socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, resolve);
  });
  t.after(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** A volume of a ConfigMap: files behind `..data`, a link that is swapped. */
class ConfigMapVolume {
  readonly #dir: string;
  #version = 0;

  constructor(dir: string, files: Record<string, string>) {
    this.#dir = dir;
    this.replace(files);
    for (const name of Object.keys(files)) symlinkSync(join('..data', name), join(dir, name));
  }

  path(name: string): string {
    return join(this.#dir, name);
  }

  replace(files: Record<string, string>): void {
    const version = `..v${++this.#version}`;
    mkdirSync(join(this.#dir, version));
    for (const [name, text] of Object.entries(files)) writeFileSync(join(this.#dir, version, name), text);
    symlinkSync(version, join(this.#dir, '..data_tmp'));
    renameSync(join(this.#dir, '..data_tmp'), join(this.#dir, '..data'));
  }
}

test('imports and exports that are swapped do not touch what stays, connections included', async (t) => {
  const node = await startNode(t);
  await node.createRouter('node-1');
  node.startRouter('node-1');
  const [web, db] = [await startEcho(t), await startEcho(t)];
  const list = (...services: [string, number][]): string =>
    JSON.stringify({ services: services.map(([name, port]) => ({ name, ports: [{ port }] })) });
  const files = (...services: [string, number][]) => ({ services: list(...services) });
  const exports = new ConfigMapVolume(tempDir(t), files(['web', web], ['db', db]));
  const imports = new ConfigMapVolume(tempDir(t), files(['web', web], ['db', db]));
  const provider = await node.startSidecar('provider', { SIDECAR_EXPORTS_FILE: exports.path('services') });
  const consumer = await node.startSidecar('consumer', { SIDECAR_IMPORTS_FILE: imports.path('services') });
  const { address } = await whenServed(consumer, 'web');
  const { address: other } = await whenServed(consumer, 'db');
  let received = '';
  const socket = connect({ host: address, port: web });
  t.after(() => void socket.destroy());
  socket.on('error', () => {}).on('data', (chunk: Buffer) => (received += chunk.toString()));
  socket.write('before ');
  await waitFor(() => received === 'before ', { what: 'an echo' });
  const [registered] = (await provider.status()).exports;
  exports.replace(files(['cache', db], ['web', web]));
  imports.replace(files(['cache', db], ['web', web]));
  const cache = await whenServed(consumer, 'cache');
  assert.equal(await exchange(cache.address, cache.port, 'x'), 'x');
  await assert.rejects(exchange(other, db, 'x'), { code: 'ECONNREFUSED' });
  socket.write('after');
  await waitFor(() => received === 'before after', { what: 'an echo on the old connection' });
  const web2 = (await provider.status()).exports.find(({ name }) => name === 'web');
  assert.deepEqual([web2?.proxyName, web2?.connections], [registered?.proxyName, 1]);
  imports.replace({ services: 'services: [{name: Web}]' });
  await consumer.process.waitForLine(/configuration changed but is wrong.*Web/u);
  socket.write(', and more');
  await waitFor(() => received === 'before after, and more', { what: 'an echo' });
});

test('with the API server away both sides restart from their caches and connect', async (t) => {
  const node = await startNode(t);
  await node.createRouter('node-1');
  node.startRouter('node-1');
  const target = await startEcho(t);
  const publish = { SIDECAR_EXPORTED_SERVICES: `web=${target}` };
  const provider = await node.startSidecar('provider', publish);
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web' });
  const before = await whenServed(consumer, 'web');
  await Promise.all([provider.process.stop(), consumer.process.stop()]); // writes what is pending
  await node.apiserver.kill();
  await node.startSidecar('provider', { ...publish, SIDECAR_CACHE_DIR: provider.cacheDir });
  const after = await node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: 'web',
    SIDECAR_CACHE_DIR: consumer.cacheDir,
  });
  await after.until(
    ({ phase, apiserver }) => phase === 'ready' && apiserver.fromCache,
    'ready from the cache',
  );
  assert.equal(await after.resolve('web.default.svc.cluster.local'), before.address);
  assert.equal(await exchange(before.address, before.port, 'still here'), 'still here');
});

test('applications and services of IPv6 are not left out', async (t) => {
  const target = await startEcho(t, '::1').catch(() => undefined);
  if (target === undefined) {
    t.skip('no IPv6 on loopback');
    return;
  }
  const node = await startNode(t);
  await node.createRouter('node-1');
  node.startRouter('node-1');
  await node.startSidecar('provider', {
    SIDECAR_EXPORTED_SERVICES: `web=[::1]:${target},local=localhost:${target}`,
  });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web:18095,local:18096' });
  const web = await whenServed(consumer, 'web');
  const local = await whenServed(consumer, 'local');
  // what getaddrinfo gives to a socket of IPv6 (AI_V4MAPPED)
  assert.equal(await exchange(`::ffff:${web.address}`, web.port, 'mapped'), 'mapped');
  assert.equal(await exchange(local.address, local.port, 'by name'), 'by name');
});
