/** Tests of the program as a whole: how it is called, what it says, and how it ends. */
import assert from 'node:assert/strict';
import { copyFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { CLEAN_ENV, edgePath, runEdge, startEdgeReady } from '../support/edge-process.ts';
import { freePort } from '../support/ports.ts';
import { runProcess, startProcess } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

const SUBCOMMANDS = ['apiserver', 'router', 'syncer', 'sidecar', 'ctl'];
const VERSION_LINE = /^edge \d+\.\d+\.\d+\S* \(commit \S+, frp protocol \d+\.\d+\.\d+\)\n$/u;

test('tells its version alone and as a subcommand', async () => {
  for (const args of [['--version'], ...SUBCOMMANDS.map((name) => [name, '--version'])]) {
    const { status, stdout } = await runEdge(args);
    assert.equal(status, 0, args.join(' '));
    assert.match(stdout, VERSION_LINE);
  }
});

test('help lists every subcommand and ends well', async () => {
  const { status, stdout } = await runEdge(['--help']);
  assert.equal(status, 0);
  for (const name of SUBCOMMANDS) assert.match(stdout, new RegExp(`^ +${name} `, 'mu'));
});

test('every subcommand has help that names its flags', async () => {
  for (const name of SUBCOMMANDS) {
    const { status, stdout } = await runEdge([name, '--help']);
    assert.equal(status, 0, name);
    assert.match(stdout, /Usage: edge /u);
  }
});

test('without a subcommand, and with a wrong one, it ends with status 2', async () => {
  for (const args of [[], ['nonsense'], ['--nonsense']]) {
    const { status, stderr } = await runEdge(args);
    assert.equal(status, 2, args.join(' '));
    assert.notEqual(stderr, '');
  }
});

test('a wrong flag, value or file ends with status 2 and one line that names it', async (t) => {
  const file = join(tempDir(t), 'settings.yaml');
  writeFileSync(file, 'logFormt: json\n');
  const cases: [string[], RegExp][] = [
    [['router', '--nonsense'], /--nonsense/u],
    [['router', '--log-format', 'xml'], /--log-format: "xml" is not one of text, json/u],
    [['apiserver', '--listen', 'nowhere'], /nowhere/u],
    [['syncer', '--config', file], /unknown setting "logFormt"; did you mean "logFormat"\?/u],
    [['sidecar', '--config', '/nonexistent.yaml'], /\/nonexistent\.yaml: no such file or directory/u],
  ];
  for (const [args, message] of cases) {
    const { status, stderr } = await runEdge(args, { env: { EDGE_DATA_DIR: tempDir(t) } });
    assert.equal(status, 2, `${args.join(' ')}: ${stderr}`);
    assert.match(stderr, message);
    assert.ok(!stderr.includes('    at '), 'no stack trace');
  }
});

test('called through a symlink it is the subcommand of that name', async (t) => {
  const dir = tempDir(t);
  for (const name of ['router', 'ctl']) {
    const link = join(dir, `edge-${name}`);
    symlinkSync(edgePath(), link);
    const { status, stdout } = await runProcess(link, ['--help']);
    assert.equal(status, 0);
    assert.match(stdout, new RegExp(`Usage: edge-${name} `, 'u'));
  }
  const other = join(dir, 'edge-nonsense');
  symlinkSync(edgePath(), other);
  assert.equal((await runProcess(other, ['--version'])).status, 0);
});

test('serves health and metrics where told to, and drains on SIGTERM with status 0', async (t) => {
  const port = await freePort();
  const args = ['apiserver', '--listen', '127.0.0.1:0', '--data-dir', tempDir(t)];
  const child = await startEdgeReady(t, [
    ...args,
    '--metrics-addr',
    `127.0.0.1:${port}`,
    '--log-format',
    'json',
  ]);
  await child.waitForHttp(`http://127.0.0.1:${port}/readyz`);
  const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  assert.match(metrics, /^edge_build_info\{component="apiserver",/mu);
  for (const line of child.stderr.trim().split('\n'))
    assert.doesNotThrow(() => JSON.parse(line) as unknown, line);
  assert.deepEqual(await child.stop(), { status: 0, signal: null });
});

test('an address that is taken ends with status 1, its name, and what to do', async (t) => {
  const port = await freePort();
  const args = ['apiserver', '--listen', `127.0.0.1:${port}`];
  await startEdgeReady(t, [...args, '--data-dir', tempDir(t)]);
  const { status, stderr } = await runEdge([...args, '--data-dir', tempDir(t)]);
  assert.equal(status, 1, stderr);
  assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${port}.*address already in use`, 'u'));
  assert.match(stderr, /^hint: /mu);
});

test('an executable that is overwritten while it runs does not disturb what it does later', async (t) => {
  const dir = tempDir(t);
  const [program, dataDir] = [join(dir, 'edge'), join(dir, 'data')];
  copyFileSync(edgePath(), program);
  const port = await freePort();
  const args = ['apiserver', '--insecure-http', '--listen', `127.0.0.1:${port}`, '--data-dir', dataDir];
  const server = startProcess(t, process.execPath, [program, ...args], { env: CLEAN_ENV });
  await server.waitForHttp(`http://127.0.0.1:${port}/readyz`);
  writeFileSync(program, 'another build, copied over this one\n');
  const created = await fetch(`http://127.0.0.1:${port}/apis/edge.example.com/v1/routers`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      apiVersion: 'edge.example.com/v1',
      kind: 'Router',
      metadata: { name: 'r' },
      spec: { frps: { bindPort: 7000 } },
    }),
  });
  assert.equal(created.status, 201);
  assert.deepEqual(await server.stop(), { status: 0, signal: null }); // its last act is a checkpoint, SQLite's first
  const { status, stdout } = await runEdge(['apiserver', '--check-db', '--data-dir', dataDir]);
  assert.equal(status, 0, stdout);
  assert.match(stdout, /checkpoint-\d+-[0-9a-f]+\.db: revision 2, 1 objects/u);
});
