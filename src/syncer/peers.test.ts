/** Tests of the list of peers. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../../test/support/temp-dir.ts';
import { parsePeerList, peerAccess, readPeersFile } from './peers.ts';

test('peers of a flag get the credentials of the flags', () => {
  assert.deepEqual(
    parsePeerList(['node-2=https://10.0.0.2:7443', 'n3=http://10.0.0.3:1/'], { tokenFile: '/t' }, '--peers'),
    [
      { node: 'node-2', server: 'https://10.0.0.2:7443', tokenFile: '/t' },
      { node: 'n3', server: 'http://10.0.0.3:1', tokenFile: '/t' },
    ],
  );
});

test('wrong entries of a flag are usage errors that name the entry', () => {
  const cases: [string[], RegExp][] = [
    [['https://10.0.0.2'], /"https:\/\/10\.0\.0\.2" is not of the form|not of the form/u],
    [['=https://10.0.0.2'], /NODE=URL/u],
    [['n=10.0.0.2:7443'], /"10\.0\.0\.2:7443" is not an address/u],
    [['N_1=https://10.0.0.2'], /"N_1" is not a node name/u],
    [['n=https://10.0.0.2', 'n=https://10.0.0.3'], /two peers are called "n"/u],
  ];
  for (const [entries, message] of cases) {
    assert.throws(() => parsePeerList(entries, {}, '--peers'), { code: 'EDGE_ERR_USAGE', message });
  }
});

test('a peers file gives each peer its own credentials, with paths beside the file', async (t) => {
  const dir = tempDir(t);
  const path = join(dir, 'peers.yaml');
  const pem = '-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n';
  writeFileSync(join(dir, 'token'), 'abc\n');
  writeFileSync(
    path,
    `peers:
- {node: node-2, server: "https://10.0.0.2:7443", tokenFile: token, caData: ${Buffer.from(pem).toString('base64')}}
- {node: node-3, server: "https://10.0.0.3:7443", kubeconfig: node-3.kubeconfig}
`,
  );
  const [first, second] = readPeersFile(path);
  assert.deepEqual(second, {
    node: 'node-3',
    server: 'https://10.0.0.3:7443',
    kubeconfig: join(dir, 'node-3.kubeconfig'),
  });
  assert.ok(first !== undefined && second !== undefined);
  assert.deepEqual(await peerAccess(first), {
    server: 'https://10.0.0.2:7443',
    token: 'abc',
    ca: pem,
    files: [join(dir, 'token')],
  });
  await assert.rejects(peerAccess(second), { code: 'EDGE_ERR_API_KUBECONFIG' });
  writeFileSync(
    join(dir, 'node-3.kubeconfig'),
    `current-context: x
clusters: [{name: x, cluster: {server: "https://127.0.0.1:7443", insecure-skip-tls-verify: true}}]
users: [{name: x, user: {token: t3}}]
contexts: [{name: x, context: {cluster: x, user: x}}]
`,
  );
  const access = await peerAccess(second);
  assert.equal(
    access.server,
    'https://10.0.0.3:7443',
    'the address of the list wins over that of the copied file',
  );
  assert.equal(access.token, 't3');
});

test('an empty peers file is an empty list, a wrong one a usage error that names the place', (t) => {
  const path = join(tempDir(t), 'peers.yaml');
  for (const text of ['', 'peers:\n', 'peers: []\n']) {
    writeFileSync(path, text);
    assert.deepEqual(readPeersFile(path), []);
  }
  const cases: [string, RegExp][] = [
    ['- a', /wanted a map with a list "peers"/u],
    ['peers: [x]', /peers\[0\]: wanted a map/u],
    ['peers: [{node: n}]', /peers\[0\]: needs server or kubeconfig/u],
    ['peers: [{node: n, serverr: x}]', /unknown setting "serverr"; did you mean "server"/u],
    ['peers: [{node: n, server: 3}]', /server: wanted a text/u],
    ['peers: [{node: n, server: "http://a"}, {node: n, server: "http://b"}]', /two peers/u],
    ['peers: [', /peers\.yaml:\d/u],
  ];
  for (const [text, message] of cases) {
    writeFileSync(path, text);
    assert.throws(() => readPeersFile(path), { code: 'EDGE_ERR_USAGE', message });
  }
});
