/** Unit tests of the arguments of -L, -R and -D. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDynamic, parseForward } from './forward-spec.ts';

test('forwards are read as OpenSSH reads them', () => {
  const there = { host: 'db', port: 5432 };
  assert.deepEqual(parseForward('8080:db:5432', '-L'), {
    listen: { host: 'localhost', port: 8080 },
    ...there,
  });
  assert.deepEqual(parseForward('*:0:db:5432', '-R'), { listen: { host: '', port: 0 }, ...there });
  assert.deepEqual(parseForward(':8080:db:5432', '-L'), { listen: { host: '', port: 8080 }, ...there });
  assert.deepEqual(parseForward('[::1]:8080:[fd00::7]:22', '-L'), {
    listen: { host: '::1', port: 8080 },
    host: 'fd00::7',
    port: 22,
  });
  assert.deepEqual(parseDynamic('1080', '-D'), { host: 'localhost', port: 1080 });
  assert.deepEqual(parseDynamic('10.0.0.1:1080', '-D'), { host: '10.0.0.1', port: 1080 });
});

test('what is no forward is refused with the flag and the text', () => {
  for (const text of [
    '',
    '80',
    '80:db',
    'x:db:80',
    '80:db:0',
    '80::80',
    '70000:db:80',
    '::1:80:db:80',
    '[80:db:80',
  ])
    assert.throws(() => parseForward(text, '-L'), { code: 'EDGE_ERR_USAGE', message: /^-L: / });
  for (const text of ['', 'x', 'a:b:1', '-1'])
    assert.throws(() => parseDynamic(text, '-D'), /^UsageError: -D: /u);
});
