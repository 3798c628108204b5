/** `edge ctl` against `edge apiserver`, beside kubectl where there is one: same output, same exit status. */
import assert from 'node:assert/strict';
import { copyFileSync, readdirSync, readlinkSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { CLEAN_ENV, edgePath, runEdge, startEdge, startEdgeReady } from '../support/edge-process.ts';
import { freePort } from '../support/ports.ts';
import { runProcess, startProcess } from '../support/processes.ts';
import type { ProcessResult } from '../support/processes.ts';
import { requireProgram } from '../support/programs.ts';
import { tempDir } from '../support/temp-dir.ts';

const MANIFEST = `apiVersion: edge.example.com/v1
kind: Router
metadata: {name: node-1, labels: {zone: a}}
spec: {frps: {bindPort: 7000}}
---
apiVersion: v1
kind: List
items:
- apiVersion: edge.example.com/v1
  kind: Router
  metadata: {name: node-2}
  spec: {frps: {bindPort: 7001}}
- apiVersion: edge.example.com/v1
  kind: NodeMaintenance
  metadata: {name: nm-1}
  spec: {nodeName: node-1}
`;

interface World {
  dir: string;
  manifest: string;
  ctl: (...args: string[]) => Promise<ProcessResult>;
}

async function startWorld(t: TestContext): Promise<World> {
  const dir = tempDir(t);
  const port = await freePort();
  await startEdgeReady(t, [
    'apiserver',
    '--data-dir',
    dir,
    '--node',
    'node-1',
    '--listen',
    `127.0.0.1:${port}`,
  ]);
  const manifest = join(dir, 'm.yaml');
  writeFileSync(manifest, MANIFEST);
  return { dir, manifest, ctl: (...args) => runEdge(['ctl', ...args], { env: { EDGE_DATA_DIR: dir } }) };
}

/** Asserts status and output of a run. */
function assertRun(
  result: ProcessResult,
  status: number,
  stdout: string | RegExp,
  stderr: string | RegExp = '',
): void {
  const all = JSON.stringify(result);
  assert.equal(result.status, status, all);
  for (const [actual, wanted] of [
    [result.stdout, stdout],
    [result.stderr, stderr],
  ] as const) {
    if (typeof wanted === 'string') assert.equal(actual, wanted, all);
    else assert.match(actual, wanted, all);
  }
}

test('objects are applied, changed, shown, awaited and deleted', async (t) => {
  const { ctl, manifest, dir } = await startWorld(t);
  assertRun(
    await ctl('apply', '-f', manifest),
    0,
    'router.edge.example.com/node-1 created\nrouter.edge.example.com/node-2 created\nnodemaintenance.edge.example.com/nm-1 created\n',
  );
  assertRun(await ctl('apply', '-f', manifest), 0, /^(?:\S+ unchanged\n){3}$/u);
  writeFileSync(manifest, MANIFEST.replace('7000', '7005').replace(', labels: {zone: a}', ''));
  assertRun(
    await ctl('apply', '-f', manifest, '--dry-run=server'),
    0,
    /node-1 configured \(server dry run\)/u,
  );
  assertRun(await ctl('apply', '-f', dir, '-o', 'name'), 0, /node-1/u);
  assertRun(
    await ctl('get', 'rt/node-1', '-o', 'jsonpath={.spec.frps.bindPort}{.metadata.labels}'),
    0,
    '7005',
  );
  assertRun(
    await ctl('patch', 'rt', 'node-1', '-p', '{"spec":{"frps":{"bindPort":7006}}}'),
    0,
    'router.edge.example.com/node-1 patched\n',
  );
  assertRun(
    await ctl('patch', 'rt', 'node-1', '-p', '{"spec":{"frps":{"bindPort":7006}}}'),
    0,
    /\(no change\)/u,
  );
  assertRun(
    await ctl('wait', 'rt/node-1', '--for=jsonpath={.spec.frps.bindPort}=7006'),
    0,
    'router.edge.example.com/node-1 condition met\n',
  );
  assertRun(
    await ctl('wait', 'rt/node-1', '--for=condition=Ready', '--timeout=200ms'),
    1,
    '',
    'error: timed out waiting for the condition on routers/node-1\n',
  );
  assertRun(await ctl('delete', '-f', manifest), 0, /^(?:\S+ "[^"]+" deleted\n){3}$/u);
  assertRun(await ctl('get', 'all'), 0, '', 'No resources found\n');
});

test('a finalizer holds a delete until it is taken off', async (t) => {
  const { ctl, manifest } = await startWorld(t);
  await ctl('apply', '-f', manifest);
  await ctl('patch', 'rt', 'node-1', '-p', '{"metadata":{"finalizers":["example.org/hold"]}}');
  assertRun(
    await ctl('delete', 'rt', 'node-1', '--timeout=300ms'),
    1,
    /deleted/u,
    /timed out waiting[^]*finalizer/u,
  );
  assertRun(await ctl('delete', 'rt', 'node-1', '--wait=false'), 0, /deleted/u);
  await ctl('patch', 'rt', 'node-1', '-p', '{"metadata":{"finalizers":null}}');
  assertRun(await ctl('wait', 'rt/node-1', '--for=delete'), 0, '');
});

test('a watch prints changes as they come', async (t) => {
  const { ctl, manifest, dir } = await startWorld(t);
  await ctl('apply', '-f', manifest);
  const watch = startEdge(t, ['ctl', 'watch', 'routers', '--output-watch-events'], {
    env: { EDGE_DATA_DIR: dir },
  });
  await watch.waitForLine(/^ADDED +node-2 /u);
  await ctl('patch', 'rt', 'node-2', '-p', '{"spec":{"frps":{"bindPort":7999}}}');
  await watch.waitForLine(/^MODIFIED +node-2 +7999 /u);
  await ctl('delete', 'rt', 'node-2');
  await watch.waitForLine(/^DELETED +node-2 /u);
});

test('a watch goes on when the program is replaced by another build', async (t) => {
  const { ctl, manifest, dir } = await startWorld(t);
  const program = join(dir, 'edge');
  copyFileSync(edgePath(), program);
  const args = [program, 'ctl', 'get', 'rt', '-o', 'yaml', '--watch-only', '--data-dir', dir];
  const watch = startProcess(t, process.execPath, args, { env: CLEAN_ENV });
  // with a connection it is past its start, and has not needed YAML yet
  const fds = `/proc/${watch.pid}/fd`;
  const isConnection = (fd: string): boolean => {
    try {
      return Number(fd) > 2 && readlinkSync(join(fds, fd)).startsWith('socket:');
    } catch {
      return false; // closed meanwhile
    }
  };
  await watch.waitFor(() => readdirSync(fds).some(isConnection), 'a connection');
  const other = join(dir, 'edge.new');
  writeFileSync(other, '#!/bin/sh\n');
  renameSync(other, program);
  let labels = 0;
  await ctl('apply', '-f', manifest);
  await watch.waitFor(async () => {
    await ctl('label', 'rt', 'node-2', `n=${labels++}`, '--overwrite');
    return /^ {2}name: node-2$/mu.test(watch.stdout);
  }, 'the watch prints YAML');
});

test('failures are one line and a hint, with status 1', async (t) => {
  const { ctl, dir } = await startWorld(t);
  const bad = join(dir, 'bad.yaml');
  writeFileSync(bad, MANIFEST.replace('7000', '70000').replace('nodeName', 'nodeNama'));
  const applied = await ctl('apply', '-f', bad);
  assert.equal(applied.status, 1);
  assert.match(applied.stderr, /The Router "node-1" is invalid: spec\.frps\.bindPort: Invalid value/u);
  assert.match(applied.stderr, /error when creating ".*bad\.yaml": .*unknown field "spec\.nodeNama"/u);
  assert.match(applied.stdout, /node-2 created/u, 'one bad object does not keep the others back');
  const cases: [string[], RegExp][] = [
    [['get', 'rt', 'x'], /^Error from server \(NotFound\): routers\.edge\.example\.com "x" not found\n$/u],
    [['get', 'pods'], /^error: the server doesn't have a resource type "pods"\nhint: /u],
    [
      ['get', 'rt', '--server', 'https://127.0.0.1:1'],
      /^error: cannot reach the API server https:\/\/127\.0\.0\.1:1: .*refused\nhint: /u,
    ],
    [['get', 'rt', '--data-dir', '/nonexistent'], /^error: no API server is configured: [^\n]*\nhint: /u],
    [['get', 'rt', '--kubeconfig', '/nonexistent'], /^error: kubeconfig: cannot read \/nonexistent/u],
    [['gett'], /^error: unknown command "gett"[^\n]*did you mean "get"/u],
    [['delete', 'rt'], /no name was specified/u],
    [['patch', 'rt', 'node-2', '--type=strategic', '-p', '{}'], /--type must be merge or json/u],
  ];
  for (const [args, stderr] of cases) assertRun(await ctl(...args), 1, '', stderr);
  const token = join(dir, 'token');
  writeFileSync(token, 'wrong');
  const text = await ctl('get', 'rt', '--kubeconfig', join(dir, 'admin.kubeconfig'), '--token-file', token);
  assert.ok(text.status === 0 || /logged in/u.test(text.stderr), text.stderr);
  assertRun(
    await ctl('delete', 'rt', 'node-2', '--kubeconfig', join(dir, 'sidecar.kubeconfig')),
    1,
    '',
    /^Error from server \(Forbidden\): /u,
  );
});

test('status shows what is wrong and what to do', async (t) => {
  const { ctl, manifest } = await startWorld(t);
  await ctl('apply', '-f', manifest);
  const sidecar = `http://127.0.0.1:${await freePort()}`;
  const shown = await ctl('status', '--node', 'node-1', '--sidecar', sidecar);
  assertRun(
    shown,
    1,
    /^node node-1\n {2}ok {2}API server .*revision \d+\n {2}!! {2}Router .*no status\n {6}hint: start "edge router/u,
  );
  assert.ok(!shown.stdout.includes('\u001B'), 'no colours in a pipe');
  const json = JSON.parse(
    (await ctl('status', '--node', 'node-9', '--sidecar', sidecar, '-o', 'json')).stdout,
  ) as { ok: boolean };
  assert.equal(json.ok, false);
});

test('versions and completion scripts are printed', async (t) => {
  const { ctl } = await startWorld(t);
  assertRun(await ctl('version'), 0, /^Client Version: v\d.*\nServer Version: v1\.\d+.*\n$/u);
  for (const shell of ['bash', 'zsh', 'fish']) assertRun(await ctl('completion', shell), 0, /edge ctl get/u);
  const bash = (await ctl('completion', 'bash')).stdout;
  assertRun(await runProcess('bash', ['-n'], { input: bash }), 0, '');
});

/** Commands whose output must be kubectl's, letter for letter; ages are left out of the tables. */
const SAME_AS_KUBECTL: string[][] = [
  ['get', 'routers', '-o', 'yaml'],
  ['get', 'rt', 'node-1', '-o', 'json'],
  ['get', 'rt,nm', '-o', 'name'],
  ['get', 'routers', '-o', 'jsonpath={range .items[*]}{.metadata.name}{"\\t"}{.spec.frps}{"\\n"}{end}'],
  [
    'get',
    'routers',
    '-o',
    'custom-columns=NAME:.metadata.name,ZONE:.metadata.labels.zone,P:.spec.frps.bindPort',
  ],
  ['get', 'routers', '--show-labels', '-L', 'zone'],
  ['get', 'all'],
  ['get', 'routers', '-l', 'zone=none'],
  ['get', 'routers', '--sort-by=.spec.frps.bindPort', '--no-headers'],
  ['get', 'rt', 'none', 'node-1'],
  ['get', 'rt', 'none', '--ignore-not-found'],
  ['describe', 'router', 'node-1'],
  ['delete', 'rt', 'none'],
  ['delete', 'rt', 'node-1', '--dry-run=server'],
  ['patch', 'rt', 'node-1', '--type=merge', '-p', '{"spec":{"frps":{"bindPort":70000}}}'],
];

test('output is that of kubectl', async (t) => {
  const kubectl = requireProgram(t, 'kubectl');
  if (kubectl === undefined) return;
  const { ctl, manifest, dir } = await startWorld(t);
  await ctl('apply', '-f', manifest);
  const env = { KUBECONFIG: join(dir, 'admin.kubeconfig'), HOME: dir };
  // ages differ between two runs, and the width of their column with them
  const ageless = (text: string): string => text.replaceAll(/ +(?:AGE|\d+[smh]\d*[sm]?)(?: +|$)/gmu, ' AGE ');
  for (const args of SAME_AS_KUBECTL) {
    const theirs: ProcessResult = await runProcess(kubectl, args, { env });
    const ours: ProcessResult = await ctl(...args);
    const what = `kubectl ${args.join(' ')}`;
    assert.equal(ageless(ours.stdout), ageless(theirs.stdout), what);
    assert.equal(ours.stderr, theirs.stderr, what);
    assert.equal(ours.status, theirs.status, what);
  }
});
