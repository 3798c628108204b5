/** `edge ctl edit` with editors that are scripts: changes, mistakes, and others who write at the same time. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { runEdge, startEdgeReady } from '../support/edge-process.ts';
import { freePort } from '../support/ports.ts';
import type { ProcessResult } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

const ROUTER = `apiVersion: edge.example.com/v1
kind: Router
metadata: {name: node-1, labels: {zone: a}}
spec: {frps: {bindPort: 7000}}
`;

interface World {
  dir: string;
  ctl: (args: string[], env?: Record<string, string>) => Promise<ProcessResult>;
  /** Edits with a shell script whose `$1` is the file; `$N` counts its calls from 1. */
  edit: (script: string, ...args: string[]) => Promise<ProcessResult>;
  port: () => Promise<string>;
}

async function startWorld(t: TestContext): Promise<World> {
  const dir = tempDir(t);
  const listen = `127.0.0.1:${await freePort()}`;
  await startEdgeReady(t, ['apiserver', '--data-dir', dir, '--node', 'node-1', '--listen', listen]);
  const ctl: World['ctl'] = (args, env = {}) =>
    runEdge(['ctl', ...args], { env: { EDGE_DATA_DIR: dir, TMPDIR: dir, ...env } });
  writeFileSync(join(dir, 'r.yaml'), ROUTER);
  const applied = await ctl(['apply', '-f', join(dir, 'r.yaml')]);
  assert.equal(applied.status, 0, applied.stderr);
  let count = 0;
  return {
    dir,
    ctl,
    edit(script, ...args) {
      const path = join(dir, `editor-${++count}.sh`);
      const counter = `${path}.calls`;
      writeFileSync(path, `#!/bin/sh\necho >> '${counter}'\nN=$(wc -l < '${counter}')\n${script}\n`, {
        mode: 0o755,
      });
      return ctl(['edit', ...(args.length > 0 ? args : ['rt', 'node-1'])], { EDITOR: path });
    },
    port: async () => (await ctl(['get', 'rt', 'node-1', '-o', 'jsonpath={.spec.frps.bindPort}'])).stdout,
  };
}

const SET = (port: number): string => `sed -i 's/bindPort: [0-9]*/bindPort: ${port}/' "$1"`;

test('edit stores what was changed, and nothing when nothing was', async (t) => {
  const { edit, port, ctl } = await startWorld(t);
  const done = await edit(SET(7001));
  assert.equal(done.status, 0, done.stderr);
  assert.equal(done.stdout, 'router.edge.example.com/node-1 edited\n');
  assert.equal(await port(), '7001');
  const owners = await ctl(['get', 'rt/node-1', '-o', 'jsonpath={.metadata.managedFields[*].manager}']);
  assert.match(owners.stdout, /kubectl-edit/u);

  for (const [script, output] of [
    ['true', 'Edit cancelled, no changes made.\n'],
    ['sed -i "s/^# Change/# changed/" "$1"', 'Edit cancelled, no changes made.\n'],
    [': > "$1"', 'Edit cancelled, saved file was empty.\n'],
  ] as const) {
    const result = await edit(script);
    assert.equal(result.status, 0, result.stderr);
    assert.equal(result.stdout, output);
  }
  const json = await edit(`sed -i 's/"bindPort": 7001/"bindPort": 7002/' "$1"`, 'rt/node-1', '-o', 'json');
  assert.equal(json.status, 0, json.stderr);
  const status = await edit(
    `printf 'status: {version: "9"}\\n' >> "$1"`,
    'rt/node-1',
    '--subresource=status',
  );
  assert.equal(status.status, 0, status.stderr);
  assert.equal((await ctl(['get', 'rt/node-1', '-o', 'jsonpath={.status.version}'])).stdout, '9');
  assert.equal(await port(), '7002');
});

test('what is refused opens the editor again with the reason, until it is right or given up', async (t) => {
  const { edit, port, dir } = await startWorld(t);
  const seen = join(dir, 'seen');
  const corrected = await edit(
    `case $N in 1) ${SET(99_999)};; 2) sed -i 's/^spec:/spec: [/' "$1";; 3) cp "$1" ${seen}; sed -i 's/^spec: \\[/spec:/' "$1"; ${SET(7003)};; esac`,
  );
  assert.equal(corrected.status, 0, corrected.stderr);
  assert.match(
    corrected.stderr,
    /was not changed: The Router "node-1" is invalid: spec\.frps\.bindPort: .*65535/u,
  );
  assert.match(readFileSync(seen, 'utf8'), /^# the file:\d+:\d+: /mu, 'the reason stands above the text');
  assert.match(readFileSync(seen, 'utf8'), /bindPort: 99999/u, 'the text is what was saved');
  assert.equal(await port(), '7003');

  const given = await edit(`if [ $N = 1 ]; then ${SET(99_999)}; fi`);
  assert.equal(given.status, 1);
  assert.match(given.stderr, /Edit cancelled, no valid changes were saved\./u);
  const copy = /a copy of your changes is in (\S+)/u.exec(given.stderr)?.[1] ?? '';
  assert.match(readFileSync(copy, 'utf8'), /bindPort: 99999/u);

  const broken = await edit('exit 3');
  assert.equal(broken.status, 1);
  assert.match(broken.stderr, /there was a problem with the editor ".*": exit status 3\nhint: /u);
  assert.doesNotMatch(broken.stderr, /a copy/u);
  const renamed = await edit(`if [ $N = 1 ]; then sed -i 's/name: node-1/name: other/' "$1"; fi`);
  assert.match(renamed.stderr, /apiVersion, kind and name cannot be changed/u);
  const missing = await edit('true', 'rt', 'none');
  assert.equal(missing.status, 1);
  assert.match(missing.stderr, /NotFound/u);
  assert.equal(await port(), '7003');
});

test('changes of others stay, and of the same field are shown before they are replaced', async (t) => {
  const { edit, port, ctl, dir } = await startWorld(t);
  const others = (patch: string): string =>
    `'${process.execPath}' dist/edge ctl patch rt node-1 -p '${patch}' > /dev/null`;
  const both = await edit(`${others('{"metadata":{"labels":{"zone":"b"}}}')}; ${SET(7004)}`);
  assert.equal(both.status, 0, both.stderr);
  assert.equal(await port(), '7004');
  assert.equal((await ctl(['get', 'rt/node-1', '-o', 'jsonpath={.metadata.labels.zone}'])).stdout, 'b');

  const seen = join(dir, 'conflict');
  const same = `if [ $N = 1 ]; then ${others('{"spec":{"frps":{"bindPort":7999}}}')}; ${SET(7005)}; else cp "$1" ${seen}`;
  const kept = await edit(`${same}; fi`);
  assert.equal(kept.status, 1);
  assert.match(kept.stderr, /somebody else changed spec\.frps\.bindPort meanwhile/u);
  assert.match(readFileSync(seen, 'utf8'), /bindPort: 7005/u);
  assert.equal(await port(), '7999');

  const insisted = await edit(`${same.replace('7999', '7998')}; sed -i '/somebody else/d' "$1"; fi`);
  assert.equal(insisted.status, 0, insisted.stderr);
  assert.equal(await port(), '7005');
  assert.ok(existsSync(seen));
});
