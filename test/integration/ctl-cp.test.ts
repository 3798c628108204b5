/** `edge ctl cp` against Debian's sshd through the tunnel: large files, trees, refusals, and what a broken copy leaves. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  createReadStream,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { auditRecords, startMaintainedNodes } from '../support/maintained-nodes.ts';
import { runProcess, startProcess } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

const LARGE_BYTES = 256 * 1024 * 1024;

function writeLarge(path: string): void {
  const file = openSync(path, 'w');
  const block = randomBytes(1024 * 1024);
  for (let at = 0; at < LARGE_BYTES; at += block.length) {
    block.writeDoubleBE(at, at % (block.length - 8)); // no two blocks are the same
    writeSync(file, block);
  }
  closeSync(file);
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

test('256 MiB go to a node and come back the same', async (t) => {
  const nodes = await startMaintainedNodes(t, ['node-7']);
  if (nodes === undefined) return;
  const dir = tempDir(t);
  const [here, there, back] = [join(dir, 'here'), join(dir, 'there'), join(dir, 'back')] as const;
  writeLarge(here);
  const wanted = await hashOf(here);
  for (const [from, to] of [
    [here, `node-7:${there}`],
    [`node-7:${there}`, back],
  ] as const) {
    const startedAt = performance.now();
    const done = await nodes.ctl('cp', [from, to], { timeoutMs: 120_000 });
    assert.deepEqual(done, { status: 0, stdout: '', stderr: '' });
    const seconds = (performance.now() - startedAt) / 1000;
    t.diagnostic(`${from === here ? 'to' : 'from'} the node: ${Math.round(256 / seconds)} MiB/s`);
  }
  assert.equal(await hashOf(there), wanted);
  assert.equal(await hashOf(back), wanted);
  assert.deepEqual(readdirSync(dir).sort(), ['back', 'here', 'there']);
  assert.deepEqual(
    auditRecords(nodes).map(({ kind, exitStatus, bytesIn, bytesOut }) => ({
      kind,
      exitStatus,
      bytesIn,
      bytesOut,
    })),
    [
      { kind: 'copy', exitStatus: 0, bytesIn: 0, bytesOut: LARGE_BYTES },
      { kind: 'copy', exitStatus: 0, bytesIn: LARGE_BYTES, bytesOut: 0 },
    ],
  );
});

test('trees keep their names, modes and times, and go from node to node', async (t) => {
  const nodes = await startMaintainedNodes(t, ['node-7', 'node-8']);
  if (nodes === undefined) return;
  const dir = tempDir(t);
  const tree = join(dir, 'tree');
  mkdirSync(join(tree, 'a b', 'deep'), { recursive: true });
  writeFileSync(join(tree, 'run.sh'), 'exit 0\n');
  chmodSync(join(tree, 'run.sh'), 0o750);
  utimesSync(join(tree, 'run.sh'), 1_700_000_000, 1_700_000_000);
  writeFileSync(join(tree, 'a b', 'empty'), '');
  for (let index = 0; index < 200; index++) writeFileSync(join(tree, 'a b', 'deep', `ä${index}`), `${index}`);
  symlinkSync('run.sh', join(tree, 'link'));
  symlinkSync('..', join(tree, 'a b', 'loop'));

  const there = join(dir, 'there');
  const first = await nodes.ctl('cp', ['-r', '-p', tree, `node-7:${there}`]);
  assert.equal(first.status, 1); // for the loop
  assert.equal(first.stderr, `error: ${tree}/a b/loop: a link to a directory is left out\n`);
  mkdirSync(join(dir, 'onward'));
  const second = await nodes.ctl('cp', ['-rp', `node-7:${there}/.`, `node-8:${join(dir, 'onward')}`]);
  assert.deepEqual(second, { status: 0, stdout: '', stderr: '' });
  const onward = join(dir, 'onward');
  assert.deepEqual(readdirSync(onward).sort(), ['a b', 'link', 'run.sh']);
  assert.equal(readdirSync(join(onward, 'a b', 'deep')).length, 200);
  assert.equal(readFileSync(join(onward, 'a b', 'deep', 'ä7'), 'utf8'), '7');
  assert.equal(statSync(join(onward, 'a b', 'empty')).size, 0);
  assert.equal(statSync(join(onward, 'run.sh')).mode & 0o777, 0o750);
  assert.equal(statSync(join(onward, 'run.sh')).mtimeMs, 1_700_000_000_000);

  const notRecursive = await nodes.ctl('cp', [tree, `node-7:${dir}/x`]);
  assert.match(notRecursive.stderr, /a directory; --recursive \(-r\) copies it/u);
  const missing = await nodes.ctl('cp', [`node-7:${dir}/nothing`, dir]);
  assert.deepEqual(missing, {
    status: 1,
    stdout: '',
    stderr: `error: node-7:${dir}/nothing: no such file or directory\n`,
  });
  const proc = await nodes.ctl('cp', ['node-7:/proc/version', join(dir, 'version')]);
  assert.equal(proc.status, 0, proc.stderr);
  assert.match(readFileSync(join(dir, 'version'), 'utf8'), /^Linux version/u);
});

test('a copy that breaks off says so and leaves what was there', async (t) => {
  const nodes = await startMaintainedNodes(t, ['node-7']);
  const sshd = nodes?.sshds.get('node-7');
  if (nodes === undefined || sshd === undefined) return;
  const dir = tempDir(t);
  const [source, target] = [join(dir, 'source'), join(dir, 'target')] as const;
  writeFileSync(source, '');
  truncateSync(source, 8 * 1024 * 1024 * 1024); // sparse: long enough to be caught in the act
  writeFileSync(target, 'as before', { mode: 0o640 });
  const running = startProcess(t, process.execPath, nodes.command('cp', [`node-7:${source}`, target]), {
    env: nodes.env,
    name: 'edge ctl cp',
  });
  const unfinished = (): string | undefined => readdirSync(dir).find((name) => name.endsWith('.part'));
  await running.waitFor(
    () => statSync(join(dir, unfinished() ?? '')).size > 1_000_000,
    'the copy to be under way',
  );
  await sshd.killAll();
  await running.assertExit(1);
  assert.match(running.stderr, /^error: .*node-7/mu);
  assert.equal(readFileSync(target, 'utf8'), 'as before');
  assert.equal(unfinished(), undefined);

  await sshd.restart();
  const upward = startProcess(t, process.execPath, nodes.command('cp', [source, `node-7:${target}`]), {
    env: nodes.env,
    name: 'edge ctl cp',
  });
  await waitFor(() => statSync(join(dir, unfinished() ?? '')).size > 1_000_000, {
    what: 'the copy to be under way',
  });
  upward.signal('SIGINT');
  await upward.assertExit(130);
  assert.equal(readFileSync(target, 'utf8'), 'as before');
  assert.equal(unfinished(), undefined);

  truncateSync(source, 0);
  writeFileSync(source, 'new');
  const done = await nodes.ctl('cp', [source, `node-7:${target}`]);
  assert.equal(done.status, 0, done.stderr);
  assert.equal(readFileSync(target, 'utf8'), 'new');
  assert.equal(statSync(target).mode & 0o777, 0o640);
  assert.ok(existsSync(source));
});

test('any name is a name, what is no file is refused, and an interrupted copy leaves nothing', async (t) => {
  const nodes = await startMaintainedNodes(t, ['node-7']);
  if (nodes === undefined) return;
  const dir = tempDir(t);
  const [here, there, back] = [join(dir, 'here'), join(dir, 'there'), join(dir, 'back')] as const;
  for (const path of [here, there, back]) mkdirSync(path);
  const names = ['sp ace', 'new\nline', '-dash', 'a:b', `"quote'$x\``, 'ünï✓'];
  for (const name of names) writeFileSync(join(here, name), name);
  const sources = names.map((name) => join(here, name));
  const gone = await nodes.ctl('cp', [...sources, `node-7:${there}`]);
  assert.deepEqual(gone, { status: 0, stdout: '', stderr: '' });
  const remote = names.map((name) => `node-7:${join(there, name)}`);
  assert.deepEqual(await nodes.ctl('cp', [...remote, back]), { status: 0, stdout: '', stderr: '' });
  assert.deepEqual(readdirSync(back).sort(), [...names].sort());
  for (const name of names) assert.equal(readFileSync(join(back, name), 'utf8'), name);

  // a pipe would wait for a writer, a device has no end; the rest of a tree is copied
  const pipe = await runProcess('mkfifo', [join(there, 'pipe')]);
  assert.equal(pipe.status, 0, pipe.stderr);
  const tree = await nodes.ctl('cp', ['-r', `node-7:${there}`, join(dir, 'tree')]);
  const refused = `error: node-7:${join(there, 'pipe')}: not a regular file\n`;
  assert.deepEqual(tree, { status: 1, stdout: '', stderr: refused });
  assert.equal(readdirSync(join(dir, 'tree')).length, names.length);
  const device = await nodes.ctl('cp', ['/dev/zero', `node-7:${dir}/zero`]);
  assert.deepEqual(device, { status: 1, stdout: '', stderr: 'error: /dev/zero: not a regular file\n' });

  const many = join(dir, 'many');
  mkdirSync(many);
  for (let index = 0; index < 9; index++) {
    writeFileSync(join(many, `${index}`), '');
    truncateSync(join(many, `${index}`), 8 * 1024 * 1024 * 1024); // sparse
  }
  for (const [from, to] of [
    [many, 'node-7:'],
    [`node-7:${many}`, ''],
  ] as const) {
    const target = join(dir, to === '' ? 'many-here' : 'many-there');
    const running = startProcess(t, process.execPath, nodes.command('cp', ['-r', from, `${to}${target}`]), {
      env: nodes.env,
      name: 'edge ctl cp',
    });
    await running.waitFor(() => readdirSync(target).length === 8, 'eight files to be under way');
    running.signal('SIGINT');
    await running.assertExit(130);
    assert.deepEqual(readdirSync(target), []);
  }
});
