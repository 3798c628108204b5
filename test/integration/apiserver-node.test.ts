/** The node's own API through `edge ctl`: backup, restore, certificates and joining, against a real server. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { connect } from 'node:tls';
import { parseYaml } from '../../src/lib/yaml.ts';
import { runEdge, startEdge, startEdgeReady } from '../support/edge-process.ts';
import type { ProcessResult, TestProcess } from '../support/processes.ts';
import { freePort } from '../support/ports.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

interface Node {
  dataDir: string;
  server: TestProcess;
  ctl: (...args: string[]) => Promise<ProcessResult>;
  url: string;
}

async function startNode(t: TestContext, name: string, ...args: string[]): Promise<Node> {
  const dataDir = join(tempDir(t), name);
  const address = `127.0.0.1:${await freePort()}`;
  const server = await startEdgeReady(t, [
    'apiserver',
    '--data-dir',
    dataDir,
    '--listen',
    address,
    '--node',
    name,
    ...args,
  ]);
  const ctl = (...words: string[]) => runEdge(['ctl', '--data-dir', dataDir, ...words]);
  return { dataDir, server, ctl, url: `https://${address}` };
}

async function ok(result: Promise<ProcessResult>): Promise<string> {
  const { status, stdout, stderr } = await result;
  assert.equal(status, 0, stderr);
  return stdout;
}

function routerFile(dir: string, name: string, port = 7000): string {
  const path = join(dir, `${name}.yaml`);
  writeFileSync(
    path,
    `apiVersion: edge.example.com/v1\nkind: Router\nmetadata: {name: ${name}}\nspec: {frps: {bindPort: ${port}}}\n`,
  );
  return path;
}

test('a backup of a running node brings back what was deleted, and watchers see it', async (t) => {
  const { dataDir, ctl, server } = await startNode(t, 'node-1');
  for (const name of ['r1', 'r2', 'r3']) await ok(ctl('apply', '-f', routerFile(dataDir, name)));
  const file = join(dataDir, 'saved.edge');
  assert.match(await ok(ctl('backup', file)), /^backup of revision \d+: 3 objects/u);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.match(await ok(ctl('restore', '--dry-run', file)), /^the backup is sound: 3 objects/u);
  await ok(ctl('delete', 'routers', 'r1', 'r2'));
  await ok(ctl('apply', '-f', routerFile(dataDir, 'r4')));
  const watch = startEdge(t, ['ctl', '--data-dir', dataDir, 'get', 'routers', '-w', '-o', 'name']);
  await watch.waitForLine(/r4/u);
  const before = Number(/revision \d+/u.exec(await ok(ctl('backup', join(dataDir, 'x'))))?.[0].slice(9));
  const restored = await ok(ctl('restore', file));
  assert.match(restored, /^restored 3 objects/u);
  assert.ok(Number(/(\d+)$/u.exec(restored.trim())?.[1]) > before);
  assert.deepEqual((await ok(ctl('get', 'routers', '-o', 'name'))).trim().split('\n').sort(), [
    'router.edge.example.com/r1',
    'router.edge.example.com/r2',
    'router.edge.example.com/r3',
  ]);
  await server.kill();
  const check = await runEdge(['apiserver', '--check-db', '--data-dir', dataDir]);
  assert.equal(check.status, 0, check.stdout);
  assert.match(check.stdout, /the store is sound/u);
});

test('a changed backup is refused and nothing changes; only administrators may take or restore one', async (t) => {
  const { dataDir, ctl } = await startNode(t, 'node-1');
  await ok(ctl('apply', '-f', routerFile(dataDir, 'r1')));
  const file = join(dataDir, 'saved.edge');
  await ok(ctl('backup', file));
  const data = readFileSync(file);
  data[data.length - 100] = (data[data.length - 100] ?? 0) ^ 1;
  writeFileSync(file, data);
  const refused = await ctl('restore', file);
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /checksum does not fit/u);
  assert.match(await ok(ctl('get', 'routers')), /r1/u);
  for (const role of ['router', 'syncer', 'sidecar', 'cloud']) {
    const kubeconfig = join(dataDir, `${role}.kubeconfig`);
    for (const words of [
      ['backup', join(dataDir, 'no')],
      ['restore', file],
      ['certs', 'list'],
      ['join-token', 'create'],
      ['certs', 'issue', '--node', 'x', '--role', 'admin'],
    ]) {
      const result = await runEdge(['ctl', '--kubeconfig', kubeconfig, ...words]);
      assert.equal(result.status, 1, `${role} ${words.join(' ')}`);
      assert.match(result.stderr, /forbidden/iu, `${role} ${words.join(' ')}`);
    }
  }
});

test('--check-db names damage, ends with 1 and writes nothing', async (t) => {
  const { dataDir, ctl, server } = await startNode(t, 'node-1');
  await ok(ctl('apply', '-f', routerFile(dataDir, 'r1')));
  await ok(ctl('apply', '-f', routerFile(dataDir, 'r2')));
  await server.kill();
  const store = join(dataDir, 'store');
  const name = readdirSync(store).find((entry) => entry.startsWith('journal-')) ?? '';
  const path = join(store, name);
  const data = readFileSync(path);
  data[40] = (data[40] ?? 0) ^ 1;
  writeFileSync(path, data);
  const times = readdirSync(store).map((entry) => statSync(join(store, entry)).mtimeMs);
  const result = await runEdge(['apiserver', '--check-db', '--data-dir', dataDir]);
  assert.equal(result.status, 1);
  assert.match(result.stdout, /journal-.*damaged at byte/u);
  assert.deepEqual(
    readdirSync(store).map((entry) => statSync(join(store, entry)).mtimeMs),
    times,
  );
});

test('a node joins by a token that pins the authority, works once, and its certificate can be renewed', async (t) => {
  const { dataDir, ctl, url, server } = await startNode(
    t,
    'node-1',
    '--audit-log',
    join(tempDir(t), 'audit'),
  );
  const token = (await ok(ctl('join-token', 'create', '--ttl', '5m', '-o', 'token'))).trim();
  assert.ok(!readFileSync(join(dataDir, 'join-tokens.json'), 'utf8').includes(token.split('.')[1] ?? '?'));
  const kubeconfig = join(dataDir, 'node-2.kubeconfig');
  const joining = (...words: string[]) =>
    runEdge(['ctl', 'join', '--server', url, '--as', 'node-2', '-o', kubeconfig, ...words]);
  const wrongPin = await joining(
    '--token',
    token.replace(/.$/u, (last) => (last === '0' ? '1' : '0')),
  );
  assert.equal(wrongPin.status, 1);
  assert.match(wrongPin.stderr, /not the one of the token/u);
  const wrongSecret = await joining('--token', token.replace(/\.[0-9a-f]{2}/u, '.zz'));
  assert.equal(wrongSecret.status, 1);
  await ok(joining('--token', token));
  assert.equal(statSync(kubeconfig).mode & 0o777, 0o600);
  assert.equal((await joining('--token', token)).status, 1, 'a second use is refused');
  const asPeer = (...words: string[]) => runEdge(['ctl', '--kubeconfig', kubeconfig, ...words]);
  await ok(asPeer('get', 'routers'));
  assert.equal(
    (await asPeer('apply', '-f', routerFile(dataDir, 'r1'))).status,
    1,
    'a syncer writes mirrors only',
  );
  const before = readFileSync(kubeconfig, 'utf8');
  await ok(runEdge(['ctl', 'certs', 'renew', kubeconfig]));
  assert.notEqual(readFileSync(kubeconfig, 'utf8'), before);
  await ok(asPeer('get', 'routers'));
  assert.match(await ok(ctl('certs', 'list')), /node-2 +syncer +\S+ +join-token [0-9a-f]{8}/u);
  const issued = await ok(ctl('certs', 'issue', '--node', 'node-3', '--role', 'cloud'));
  writeFileSync(kubeconfig, issued);
  await ok(asPeer('apply', '-f', routerFile(dataDir, 'r1')));
  assert.ok(!server.stderr.includes(token.split('.')[1] ?? '?'), 'no secret in the log');
});

test('a join token for one node, or an expired one, is of no use to others', async (t) => {
  const { ctl, url } = await startNode(t, 'node-1');
  const bound = (await ok(ctl('join-token', 'create', '--node', 'node-2', '-o', 'token'))).trim();
  const other = await runEdge(['ctl', 'join', '--server', url, '--as', 'node-3', '--token', bound]);
  assert.match(other.stderr, /the join token is for the node node-2/u);
  const short = JSON.parse(await ok(ctl('join-token', 'create', '--ttl', '1s', '-o', 'json'))) as {
    token: string;
    expires: string;
  };
  await waitFor(() => Date.now() > Date.parse(short.expires), { what: 'the token expires' });
  const late = await runEdge(['ctl', 'join', '--server', url, '--as', 'node-3', '--token', short.token]);
  assert.equal(late.status, 1);
  assert.match(late.stderr, /logged in|nauthorized/u);
  const admin = await ctl('join-token', 'create', '--role', 'admin');
  assert.match(admin.stderr, /role: wanted one of router, syncer, sidecar, cloud/u);
  await ok(runEdge(['ctl', 'join', '--server', url, '--as', 'node-2', '--token', bound]));
});

test('a changed serving certificate is used without a restart, and one that does not fit its key is not', async (t) => {
  const source = await startNode(t, 'node-1');
  const dir = tempDir(t);
  const [cert, key] = [join(dir, 'tls.crt'), join(dir, 'tls.key')];
  const copy = (from: string) => {
    writeFileSync(key, readFileSync(join(from, 'pki/serving.key')));
    writeFileSync(cert, readFileSync(join(from, 'pki/serving.crt')));
  };
  copy(source.dataDir);
  const { url, server } = await startNode(t, 'node-2', '--tls-cert', cert, '--tls-key', key);
  const presented = (options = {}): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = connect({
        host: '127.0.0.1',
        port: Number(new URL(url).port),
        rejectUnauthorized: false,
        ...options,
      });
      socket.on('error', reject).on('secureConnect', () => {
        resolve(socket.getPeerCertificate().fingerprint256);
        socket.destroy();
      });
    });
  const first = await presented();
  await assert.rejects(
    presented({ maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' }),
  );
  const next = await startNode(t, 'node-3');
  writeFileSync(cert, readFileSync(join(next.dataDir, 'pki/serving.crt')));
  await server.waitForLine(/certificates cannot be loaded/u);
  assert.equal(await presented(), first, 'the old pair stays');
  copy(next.dataDir);
  await waitFor(async () => (await presented()) !== first, { what: 'the new certificate' });
  await assert.rejects(
    presented({ maxVersion: 'TLSv1.1', minVersion: 'TLSv1', ciphers: 'DEFAULT@SECLEVEL=0' }),
  );
});

test('the audit log has writes and refusals with their outcome and time, and goes on after rotation', async (t) => {
  const audit = join(tempDir(t), 'audit.log');
  const { dataDir, ctl, url, server } = await startNode(t, 'node-1', '--audit-log', audit);
  const entries = () =>
    readFileSync(audit, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  await ok(ctl('apply', '-f', routerFile(dataDir, 'r1')));
  await runEdge(['ctl', '--kubeconfig', join(dataDir, 'sidecar.kubeconfig'), 'delete', 'router', 'r1']);
  await runEdge(['ctl', '--server', url, '--ca-file', join(dataDir, 'pki/ca.crt'), 'get', 'routers']);
  await ok(ctl('backup', join(dataDir, 'b')));
  const hasLast = (): boolean => entries().some(({ resource }) => resource === 'node/backup');
  const found = await waitFor(() => (hasLast() ? entries() : undefined), { what: 'the entry of the backup' });
  const brief = found.map(({ user, verb, resource, name, code }) =>
    [user, verb, resource, name, code].join(' '),
  );
  assert.ok(
    brief.some((line) => /^edge:admin:node-1 (?:create|patch) routers r1 20[01]$/u.test(line)),
    brief.join('\n'),
  );
  assert.ok(brief.includes('edge:sidecar:node-1 delete routers r1 403'), brief.join('\n'));
  assert.ok(
    brief.some((line) => /^system:anonymous .* 401$/u.test(line)),
    brief.join('\n'),
  );
  assert.ok(brief.includes('edge:admin:node-1 get node/backup  200'), brief.join('\n'));
  assert.ok(found.every(({ ms }) => typeof ms === 'number' && ms >= 0));
  renameSync(audit, `${audit}.1`);
  server.signal('SIGHUP');
  await server.waitForLine(/reloaded/u);
  await ok(ctl('delete', 'router', 'r1'));
  await waitFor(() => entries().some(({ verb }) => verb === 'delete'), { what: 'an entry in the new file' });
});

test('a printed kubeconfig holds the key that was made here', async (t) => {
  const { ctl } = await startNode(t, 'node-1');
  const text = await ok(ctl('certs', 'issue', '--node', 'node-9'));
  const config = parseYaml(text, 'kubeconfig') as { users: { user: Record<string, string> }[] };
  assert.match(
    Buffer.from(config.users[0]?.user['client-key-data'] ?? '', 'base64').toString(),
    /PRIVATE KEY/u,
  );
});
