/** Tests of kubeconfig files and of the search for an API server. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../../test/support/temp-dir.ts';
import { errorCode } from '../lib/errors.ts';
import { loadAccess, parseKubeconfig, readKubeconfig } from './kubeconfig.ts';

const PEM = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
const PEM_DATA = Buffer.from(PEM).toString('base64');

function kubeconfig(cluster: string, user: string, context = 'main'): string {
  return `apiVersion: v1
kind: Config
current-context: ${context}
clusters: [{name: c, cluster: {server: "https://127.0.0.1:7443/", ${cluster}}}]
users: [{name: u, user: {${user}}}]
contexts:
- {name: main, context: {cluster: c, user: u}}
- {name: lost, context: {cluster: elsewhere, user: u}}
`;
}

test('the data forms of certificates, the token and the server name are taken', () => {
  const text = kubeconfig(
    `certificate-authority-data: ${PEM_DATA}, tls-server-name: api.example.org`,
    `client-certificate-data: ${PEM_DATA}, client-key-data: ${PEM_DATA}, token: secret`,
  );
  assert.deepEqual(parseKubeconfig(text, '/etc/k'), {
    server: 'https://127.0.0.1:7443',
    ca: PEM,
    cert: PEM,
    key: PEM,
    token: 'secret',
    serverName: 'api.example.org',
    source: '/etc/k',
    files: ['/etc/k'],
  });
});

test('files are looked up beside the kubeconfig, and a token file wins over a token', (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, 'ca.pem'), PEM);
  writeFileSync(join(dir, 'token'), 'from-file\n');
  const text = kubeconfig('certificate-authority: ca.pem', 'token: old, tokenFile: token');
  const access = parseKubeconfig(text, join(dir, 'config'));
  assert.equal(access.ca, PEM);
  assert.equal(access.token, 'from-file');
  assert.deepEqual(access.files, [join(dir, 'config'), join(dir, 'ca.pem'), join(dir, 'token')]);
});

const MISTAKES: readonly [string, string, string | undefined, RegExp][] = [
  ['a context that is not there', kubeconfig('', ''), 'other', /no context "other"/u],
  ['a cluster that is not there', kubeconfig('', ''), 'lost', /names cluster "elsewhere"/u],
  [
    'a key without its certificate',
    kubeconfig('', `client-key-data: ${PEM_DATA}`),
    undefined,
    /must come together/u,
  ],
  [
    'data that is no PEM',
    kubeconfig('certificate-authority-data: AAAA', ''),
    undefined,
    /certificate-authority-data/u,
  ],
  [
    'a file that is missing',
    kubeconfig('certificate-authority: none.pem', ''),
    undefined,
    /none\.pem: no such file/u,
  ],
  ['a credential plugin', kubeconfig('', 'exec: {command: x}'), undefined, /"exec" are not supported/u],
  ['a list instead of a map', '[1, 2]', undefined, /wanted a map/u],
  ['an entry without a name', 'clusters: [{cluster: {}}]', undefined, /clusters\[0\]: has no name/u],
  ['no context at all', 'clusters: []', undefined, /no current-context/u],
];
for (const [what, text, context, message] of MISTAKES) {
  test(`${what} is named in the error`, () => {
    assert.throws(
      () => parseKubeconfig(text, '/nowhere/config', context),
      (err: unknown) => {
        assert.equal(errorCode(err), 'EDGE_ERR_API_KUBECONFIG');
        assert.match(String(err), message);
        assert.match(String(err), /\/nowhere\//u);
        return true;
      },
    );
  });
}

test('of several files the first to name something wins, and missing ones are passed over', (t) => {
  const dir = tempDir(t);
  const [a, b] = [join(dir, 'a'), join(dir, 'b')];
  writeFileSync(a, 'clusters: [{name: c, cluster: {server: "http://127.0.0.1:1"}}]\n');
  writeFileSync(b, kubeconfig('', 'token: t'));
  const access = readKubeconfig(`${join(dir, 'none')}:${a}:${b}`);
  assert.equal(access.server, 'http://127.0.0.1:1');
  assert.equal(access.token, 't');
});

test('a named server is used with its own files, over kubeconfigs and service accounts', async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, 'token'), 'abc\n');
  const access = await loadAccess({
    server: 'unix:///run/edge/apiserver.sock',
    tokenFile: join(dir, 'token'),
    defaultKubeconfigs: [join(dir, 'none')],
  });
  assert.deepEqual(access, {
    server: 'unix:///run/edge/apiserver.sock',
    token: 'abc',
    files: [join(dir, 'token')],
  });
  await assert.rejects(loadAccess({ server: 'ftp://x', defaultKubeconfigs: [] }), { code: 'EDGE_ERR_USAGE' });
});

test('the first default kubeconfig that exists is used, and none at all is an error with a hint', async (t) => {
  const dir = tempDir(t);
  const settings = { defaultKubeconfigs: [join(dir, 'admin'), join(dir, 'sidecar')] };
  await assert.rejects(loadAccess(settings, {}), { code: 'EDGE_ERR_API_NO_ACCESS', retryable: true });
  writeFileSync(join(dir, 'sidecar'), kubeconfig('', 'token: s'));
  assert.equal((await loadAccess(settings, {})).token, 's');
});
