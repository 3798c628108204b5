/** Tests of log lines: both forms, levels, quoting, inherited fields. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLogger, silentLogger, wantsColor } from './log.ts';
import type { LoggerOptions } from './log.ts';

const AT = '2026-01-02T03:04:05.678Z';

function capture(options: Partial<LoggerOptions> = {}) {
  const lines: string[] = [];
  const log = createLogger({
    level: 'debug',
    format: 'text',
    write: (line) => void lines.push(line),
    now: () => new Date(AT),
    ...options,
  });
  return { log, lines };
}

test('a text line has time, level, message and fields, quoted where needed', () => {
  const { log, lines } = capture();
  log.info('ready', {
    node: 'node-1',
    port: 7000,
    what: 'two words',
    empty: '',
    absent: undefined,
    list: [1, 2],
  });
  assert.deepEqual(lines, [`${AT} INFO  ready node=node-1 port=7000 what="two words" empty="" list=[1,2]`]);
});

test('a value cannot forge a second line or field', () => {
  const { log, lines } = capture();
  log.warn('peer', { name: 'a\nb level=error', quote: 'say "x"' });
  assert.deepEqual(lines, [`${AT} WARN  peer name="a\\nb level=error" quote="say \\"x\\""`]);
});

test('a JSON line is one object with the same fields', () => {
  const { log, lines } = capture({ format: 'json' });
  log.error('failed', { node: 'node-1', error: new Error('why\nstack') });
  assert.equal(lines.length, 1);
  assert.deepEqual(JSON.parse(lines[0] ?? ''), {
    time: AT,
    level: 'error',
    msg: 'failed',
    node: 'node-1',
    error: 'why',
  });
});

test('events below the level are dropped', () => {
  const { log, lines } = capture({ level: 'warn' });
  log.debug('a');
  log.info('b');
  log.warn('c');
  log.error('d');
  assert.deepEqual(
    lines.map((line) => line.split(' ').at(-1)),
    ['c', 'd'],
  );
});

test('a derived logger adds its fields; those of the call win', () => {
  const { log, lines } = capture();
  log.with({ component: 'router', id: 1 }).with({ peer: 'x' }).info('event', { id: 2 });
  assert.deepEqual(lines, [`${AT} INFO  event component=router id=2 peer=x`]);
});

test('colours the level only where asked to, and never in JSON', () => {
  const colored = capture({ hasColor: true });
  colored.log.error('x');
  assert.deepEqual(colored.lines, [`${AT} \u001B[31mERROR\u001B[0m x`]);
  const json = capture({ hasColor: true, format: 'json' });
  json.log.error('x');
  assert.ok(!json.lines.join('').includes('\u001B'));
});

test('an error is written as its message in text too', () => {
  const { log, lines } = capture();
  log.error('stop failed', { error: new Error('no reason') });
  assert.deepEqual(lines, [`${AT} ERROR stop failed error="no reason"`]);
});

test('the silent logger takes everything', () => {
  assert.doesNotThrow(() => silentLogger.with({ a: 1 }).error('x', { b: 2 }));
});

test('colours are for terminals whose user has not said NO_COLOR', () => {
  assert.equal(wantsColor(true, {}), true);
  assert.equal(wantsColor(true, { NO_COLOR: '' }), true);
  assert.equal(wantsColor(true, { NO_COLOR: '1' }), false);
  assert.equal(wantsColor(false, {}), false);
});
