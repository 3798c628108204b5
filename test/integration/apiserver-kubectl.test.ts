/** Unmodified kubectl against `edge apiserver`. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { startEdgeReady } from '../support/edge-process.ts';
import { requireProgram } from '../support/programs.ts';
import { runProcess, startProcess } from '../support/processes.ts';
import type { ProcessResult, TestProcess } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

interface Kubectl {
  (...args: string[]): Promise<ProcessResult>;
  /** Runs, wants status 0, and gives standard output. */
  ok(...args: string[]): Promise<string>;
  start(...args: string[]): TestProcess;
  file(name: string, text: string): string;
}

async function setUp(t: TestContext): Promise<Kubectl | undefined> {
  const program = requireProgram(t, 'kubectl');
  if (program === undefined) return undefined;
  const dir = tempDir(t);
  await startEdgeReady(t, ['apiserver', '--data-dir', dir, '--listen', '127.0.0.1:0', '--node', 'node-1']);
  const env = { KUBECONFIG: join(dir, 'admin.kubeconfig'), HOME: dir, KUBE_EDITOR: 'false' };
  const kubectl = (...args: string[]) => runProcess(program, args, { env });
  return Object.assign(kubectl, {
    async ok(...args: string[]) {
      const { status, stdout, stderr } = await kubectl(...args);
      assert.equal(status, 0, `kubectl ${args.join(' ')}: ${stderr}`);
      return stdout;
    },
    start: (...args: string[]) => startProcess(t, program, args, { env, name: `kubectl ${args[0]}` }),
    file(name: string, text: string) {
      writeFileSync(join(dir, name), text);
      return join(dir, name);
    },
  });
}

const manifest = (port: number, extra = '') => `apiVersion: edge.example.com/v1
kind: Router
metadata:
  name: r1
  labels: {tier: gold}
spec:
  frps: {bindPort: ${port}}
${extra}`;

test('kubectl applies, shows, changes and deletes', async (t) => {
  const kubectl = await setUp(t);
  if (kubectl === undefined) return;
  const path = kubectl.file('r1.yaml', manifest(7000));
  assert.match(await kubectl.ok('apply', '-f', path), /r1 created/u);
  assert.match(await kubectl.ok('apply', '-f', path), /r1 unchanged/u);
  assert.equal((await kubectl('diff', '-f', path)).status, 0);
  kubectl.file('r1.yaml', manifest(7001));
  assert.equal((await kubectl('diff', '-f', path)).status, 1);
  assert.match(await kubectl.ok('apply', '-f', path), /r1 configured/u);
  assert.match(
    await kubectl.ok('get', 'rt'),
    /^NAME +READY +ADDRESS +PORT +ORIGIN +SYNCED +AGE\nr1 .* 7001 /u,
  );
  assert.match(await kubectl.ok('get', 'routers', '-o', 'wide'), /SERVICES/u);
  assert.equal(await kubectl.ok('get', 'rt', 'r1', '-o', 'jsonpath={.spec.frps.bindAddr}'), '0.0.0.0');
  assert.equal(
    await kubectl.ok('get', 'rt', '-l', 'tier=gold', '-o', 'name'),
    'router.edge.example.com/r1\n',
  );
  assert.match(await kubectl.ok('get', 'all'), /router\.edge\.example\.com\/r1/u);
  assert.match(await kubectl.ok('describe', 'rt', 'r1'), /Bind Port: +7001/u);
  assert.match(await kubectl.ok('label', 'rt', 'r1', 'x=y'), /labeled/u);
  assert.match(await kubectl.ok('annotate', 'rt', 'r1', 'a=b'), /annotated/u);
  assert.match(
    await kubectl.ok('patch', 'rt', 'r1', '--type=merge', '-p', '{"spec":{"frps":{"bindPort":7002}}}'),
    /patched/u,
  );
  assert.match(
    await kubectl.ok(
      'patch',
      'rt',
      'r1',
      '--type=json',
      '-p',
      '[{"op":"test","path":"/spec/frps/bindPort","value":7002}]',
    ),
    /no change/u,
  );
  const strategic = await kubectl('patch', 'rt', 'r1', '-p', '{"spec":{}}');
  assert.match(
    strategic.stderr,
    /strategic-merge-patch\+json is not supported by edge\.example\.com\/v1, Kind=Router/u,
  );
  assert.match(await kubectl.ok('delete', 'rt', 'r1', '--dry-run=server'), /deleted \(server dry run\)/u);
  assert.match(await kubectl.ok('delete', 'rt', 'r1'), /"r1" deleted/u);
  assert.match(
    (await kubectl('get', 'rt', 'r1')).stderr,
    /Error from server \(NotFound\): routers\.edge\.example\.com "r1" not found/u,
  );
});

test('kubectl names wrong and unknown fields', async (t) => {
  const kubectl = await setUp(t);
  if (kubectl === undefined) return;
  const wrong = await kubectl('create', '-f', kubectl.file('wrong.yaml', manifest(70000)));
  assert.equal(wrong.status, 1);
  assert.match(wrong.stderr, /The Router "r1" is invalid: spec\.frps\.bindPort: Invalid value: 70000/u);
  const unknown = kubectl.file('unknown.yaml', manifest(7000, '  bogus: 1\n'));
  const strict = await kubectl('create', '-f', unknown);
  assert.match(strict.stderr, /strict decoding error: unknown field "spec\.bogus"/u);
  const warned = await kubectl('create', '-f', unknown, '--validate=warn');
  assert.equal(warned.status, 0);
  assert.match(warned.stderr, /Warning: unknown field "spec\.bogus"/u);
});

test('kubectl watches and waits', async (t) => {
  const kubectl = await setUp(t);
  if (kubectl === undefined) return;
  await kubectl.ok('create', '-f', kubectl.file('r1.yaml', manifest(7000)));
  const watch = kubectl.start('get', 'rt', '-w');
  await watch.waitForLine(/^r1 .* 7000 /u);
  const waiting = kubectl.start('wait', '--for=condition=Ready', 'rt/r1', '--timeout=60s');
  await kubectl.ok('patch', 'rt', 'r1', '--type=merge', '-p', '{"spec":{"frps":{"bindPort":7005}}}');
  await watch.waitForLine(/^r1 .* 7005 /u);
  const status = '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}';
  await kubectl.ok('patch', 'rt', 'r1', '--subresource=status', '--type=merge', '-p', status);
  await watch.waitForLine(/^r1 +True .* 7005 /u);
  await waiting.assertExit(0);
  await kubectl.ok('delete', 'rt', '--all');
  assert.equal((await kubectl('wait', '--for=delete', 'rt/r1', '--timeout=20s')).status, 0);
});

test('kubectl explains, discovers and asks who it is', async (t) => {
  const kubectl = await setUp(t);
  if (kubectl === undefined) return;
  const explained = await kubectl.ok('explain', 'routers.spec.frps');
  assert.match(explained, /bindPort\s+<integer> -required-\n +The TCP port the tunnel server listens on\./u);
  assert.match(await kubectl.ok('explain', 'nm'), /metadata\s+<ObjectMeta>/u);
  assert.match(await kubectl.ok('api-resources'), /^routers +rt +edge\.example\.com\/v1 +false +Router$/mu);
  assert.match(await kubectl.ok('api-versions'), /^edge\.example\.com\/v1$/mu);
  assert.match(await kubectl.ok('auth', 'can-i', 'delete', 'routers'), /yes/u);
  assert.match(await kubectl.ok('auth', 'whoami'), /edge:admin:node-1/u);
  assert.match(await kubectl.ok('auth', 'can-i', '--list'), /\*/u);
  assert.match(await kubectl.ok('version'), /Server Version: v1\.33\.0-edge/u);
});

test('kubectl pages, replaces with a conflict, and sends raw bodies', async (t) => {
  const kubectl = await setUp(t);
  if (kubectl === undefined) return;
  const many = Array.from({ length: 25 }, (_, at) => manifest(7000 + at).replace('r1', `page-${at}`)).join(
    '---\n',
  );
  await kubectl.ok('create', '-f', kubectl.file('many.yaml', many));
  assert.equal(
    (await kubectl.ok('get', 'rt', '--chunk-size=10', '-o', 'name')).trim().split('\n').length,
    25,
  );
  const stale = await kubectl.ok('get', 'rt', 'page-0', '-o', 'yaml');
  await kubectl.ok('label', 'rt', 'page-0', 'x=y');
  const conflict = await kubectl('replace', '-f', kubectl.file('stale.yaml', stale));
  assert.match(conflict.stderr, /Error from server \(Conflict\)/u);
  const raw = kubectl.file(
    'raw.json',
    JSON.stringify({
      apiVersion: 'edge.example.com/v1',
      kind: 'Router',
      metadata: { name: 'raw' },
      spec: { frps: { bindPort: 1 } },
    }),
  );
  assert.match(
    await kubectl.ok('create', '--raw', '/apis/edge.example.com/v1/routers', '-f', raw),
    /"name":"raw"/u,
  );
  assert.match(
    await kubectl.ok('delete', '--raw', '/apis/edge.example.com/v1/routers/raw'),
    /"status":"Success"/u,
  );
});
