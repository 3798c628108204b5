/** Tests of option tables on real commands: flags, help text, settings files, mistakes. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { tempDir } from '../../test/support/temp-dir.ts';
import { integerOption, listOption, stringOption, switchOption, textOption } from '../lib/options.ts';
import { addOptions, createCommand, readOptions, readTextFile } from './options.ts';

const table = {
  node: textOption({ description: 'name of this node', default: 'node-1', env: 'EDGE_TEST_OPTIONS_NODE' }),
  peers: listOption({ description: 'the peers' }),
  insecureHttp: switchOption({ description: 'plain HTTP' }),
  port: integerOption({ description: 'the port', default: 7000, min: 1, max: 65_535 }),
  secret: stringOption({ description: 'never a flag', hasFlag: false }),
};

function parse(args: readonly string[], file?: { path: string; otherKeys?: readonly string[] }) {
  const command = createCommand('edge test', 'a test');
  addOptions(command, table);
  const errors: string[] = [];
  command.configureOutput({
    writeErr: (text) => void errors.push(text),
    outputError: (text) => void errors.push(text),
  });
  command.parse(['node', 'edge', ...args]);
  return readOptions(command, table, file);
}

test('reads flags of every kind', () => {
  const values = parse(['--node', 'a', '--peers', 'x,y', '--peers', 'z', '--insecure-http', '--port=80']);
  assert.deepEqual(values, {
    node: 'a',
    peers: ['x', 'y', 'z'],
    insecureHttp: true,
    port: 80,
    secret: undefined,
  });
  assert.equal(parse(['--insecure-http', 'false']).insecureHttp, false);
});

test('a variable is read from the environment, and loses to a flag', () => {
  process.env['EDGE_TEST_OPTIONS_NODE'] = 'from-env';
  try {
    assert.equal(parse([]).node, 'from-env');
    assert.equal(parse(['--node', 'from-flag']).node, 'from-flag');
  } finally {
    delete process.env['EDGE_TEST_OPTIONS_NODE'];
  }
});

test('an unknown flag, and one that is no flag, are errors', () => {
  assert.throws(() => parse(['--nonsense']), { code: 'commander.unknownOption' });
  assert.throws(() => parse(['--secret', 'x']), { code: 'commander.unknownOption' });
});

test('a wrong value names its flag', () => {
  assert.throws(() => parse(['--port', '0']), {
    code: 'EDGE_ERR_USAGE',
    message: '--port: "0" is not a whole number from 1 to 65535',
  });
});

test('help tells variable, default and repetition', () => {
  const command = createCommand('edge test', 'a test');
  addOptions(command, table);
  const help = command.helpInformation().replaceAll(/\s+/gu, ' ');
  assert.ok(
    help.includes('--node <VALUE> name of this node (env EDGE_TEST_OPTIONS_NODE; default node-1)'),
    help,
  );
  assert.ok(help.includes('--peers <VALUE> the peers (repeatable)'), help);
  assert.ok(help.includes('--insecure-http [BOOL] plain HTTP'), help);
  assert.ok(!help.includes('secret'), help);
});

test('a settings file fills what flags leave open, and its mistakes carry its name', (t) => {
  const path = join(tempDir(t), 'settings.yaml');
  writeFileSync(path, 'node: from-file\nport: 81\nservices: []\n');
  const values = parse(['--port', '82'], { path, otherKeys: ['services'] });
  assert.equal(values.node, 'from-file');
  assert.equal(values.port, 82);
  assert.throws(() => parse([], { path }), {
    code: 'EDGE_ERR_USAGE',
    message: `${path}: unknown setting "services"`,
  });
  writeFileSync(path, 'node: [\n');
  assert.throws(() => parse([], { path }), { code: 'EDGE_ERR_USAGE', message: /:2:1: / });
});

test('a file that cannot be read is told once, with what named it', (t) => {
  const path = join(tempDir(t), 'none.yaml');
  assert.throws(() => readTextFile(path, '--config'), {
    code: 'EDGE_ERR_USAGE',
    message: `--config: cannot read ${path}: no such file or directory`,
  });
});
