/** Certificates: made once, kept while they serve, replaced when they expire or no longer fit. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { tempDir } from '../../../test/support/temp-dir.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { parseYaml } from '../../lib/yaml.ts';
import { ensureAuthority, ensureServing, servingNames } from './authority.ts';
import { ensureKubeconfigs } from './kubeconfig.ts';

const DAY_MS = 86_400_000;

/** A clock that is `days` ahead. */
function later(days: number) {
  return {
    clock: { ...systemClock, wallNow: () => new Date(Date.now() + days * DAY_MS) },
    log: silentLogger,
  };
}

function setUp(t: TestContext) {
  const dir = tempDir(t);
  return { dir, certificate: (name: string) => new X509Certificate(readFileSync(join(dir, `${name}.crt`))) };
}

test('the authority signs a serving certificate for every name, and keys are private', async (t) => {
  const { dir, certificate } = setUp(t);
  const authority = await ensureAuthority(dir, 'node-1', later(0));
  const names = servingNames(['192.0.2.1', '2001:db8::1', '127.0.0.1'], 'node-1', 'Host.Example.org');
  assert.deepEqual(names, [
    'localhost',
    '127.0.0.1',
    '::1',
    'host.example.org',
    'node-1',
    '192.0.2.1',
    '2001:db8::1',
  ]);
  await ensureServing(dir, authority, names, later(0));
  const serving = certificate('serving');
  for (const name of ['localhost', 'host.example.org', 'node-1']) assert.equal(serving.checkHost(name), name);
  for (const address of ['127.0.0.1', '::1', '192.0.2.1', '2001:db8::1'])
    assert.equal(serving.checkIP(address), address);
  assert.ok(serving.verify(certificate('ca').publicKey));
  assert.ok(certificate('ca').ca);
  assert.ok(!serving.ca);
  for (const name of ['ca.key', 'serving.key']) assert.equal(statSync(join(dir, name)).mode & 0o777, 0o600);
});

test('certificates are kept while they fit, and replaced near their end or for a new name', async (t) => {
  const { dir, certificate } = setUp(t);
  const authority = await ensureAuthority(dir, 'node-1', later(0));
  const serial = async (names: string[], days: number): Promise<string> => {
    assert.equal((await ensureAuthority(dir, 'node-1', later(days))).certificate, authority.certificate);
    await ensureServing(dir, authority, names, later(days));
    return certificate('serving').serialNumber;
  };
  const first = await serial(['localhost', '::1'], 0);
  assert.equal(await serial(['::1'], 100), first);
  const second = await serial(['::1', 'node-2'], 100);
  assert.notEqual(second, first);
  assert.notEqual(await serial(['node-2'], 400), second);
  const replaced = await ensureAuthority(dir, 'node-1', later(3000));
  assert.notEqual(replaced.certificate, authority.certificate);
});

test('a kubeconfig is rewritten for another URL with the same certificate, and near its end with a new one', async (t) => {
  const { dir } = setUp(t);
  const authority = await ensureAuthority(dir, 'node-1', later(0));
  const write = async (server: string, days: number) => {
    const target = { dataDir: dir, node: 'node-1', server, authority, trust: authority.certificate };
    await ensureKubeconfigs(target, later(days));
    const config = parseYaml(readFileSync(join(dir, 'router.kubeconfig'), 'utf8'), 'router') as {
      clusters: [{ cluster: { server: string } }];
      users: [{ user: Record<string, string> }];
    };
    const data = config.users[0].user['client-certificate-data'] ?? '';
    return {
      server: config.clusters[0].cluster.server,
      certificate: new X509Certificate(Buffer.from(data, 'base64')),
    };
  };
  const first = await write('https://127.0.0.1:1', 0);
  assert.equal(first.certificate.subject, 'O=edge:router\nCN=edge:router:node-1');
  assert.equal(statSync(join(dir, 'router.kubeconfig')).mode & 0o777, 0o600);
  const moved = await write('https://127.0.0.1:2', 1);
  assert.equal(moved.server, 'https://127.0.0.1:2');
  assert.equal(moved.certificate.serialNumber, first.certificate.serialNumber);
  const renewed = await write('https://127.0.0.1:2', 300);
  assert.notEqual(renewed.certificate.serialNumber, first.certificate.serialNumber);
});
