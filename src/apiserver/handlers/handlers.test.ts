/** The small pure parts of the handlers: ages, repeated fields, Accept headers, merge patches, tokens. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '../../lib/errors.ts';
import { parseTokenFile } from '../auth/tokens.ts';
import { mergePatch } from '../registry/merge-patch.ts';
import { findDuplicateFields } from './json-duplicates.ts';
import { negotiate } from './negotiation.ts';
import type { AnswerShape } from './negotiation.ts';
import { formatAge } from '../../api/age.ts';

test('ages are as coarse as kubectl prints them', () => {
  const cases: [number, string][] = [
    [0, '0s'],
    [108, '108s'],
    [119, '119s'],
    [120, '2m'],
    [322, '5m22s'],
    [600, '10m'],
    [10_799, '179m'],
    [10_800, '3h'],
    [25_500, '7h5m'],
    [28_800, '8h'],
    [172_799, '47h'],
    [172_800, '2d'],
    [273_600, '3d4h'],
    [8 * 86_400, '8d'],
    [729 * 86_400, '729d'],
    [800 * 86_400, '2y70d'],
    [3000 * 86_400, '8y'],
  ];
  for (const [seconds, text] of cases) assert.equal(formatAge(seconds * 1000), text, String(seconds));
  assert.equal(formatAge(-5000), '<invalid>');
});

test('repeated members are found by path, values and strings with braces do not confuse', () => {
  const cases: [string, string[]][] = [
    ['{"a":1,"a":2}', ['a']],
    ['{"a":{"b":1},"c":{"b":1}}', []],
    ['{"a":[{"b":1},{"b":1,"b":2}]}', ['a[1].b']],
    ['{"a":"{\\"a\\":1,\\"a\\":2}","b":["a","a"]}', []],
    ['{"a":{"x":[1,[2,{"y":1,"y":1}]]}}', ['a.x[1][1].y']],
    [String.raw`{"a":1,"\u0061":2}`, ['a']],
    ['{"a" :1,"a":2}', ['a']],
    ['{"a:b":1,"a:b":{"c":":"}}', ['a:b']],
    ['{"a":":","b":"::"}', []],
    ['{ "a": [ {"b": ":"}, {"b": 1} ] }', []],
    ['{"__proto__":1,"__proto__":2}', ['__proto__']],
    ['[]', []],
    ['"a"', []],
    ['":"', []],
  ];
  for (const [text, expected] of cases)
    assert.deepEqual(findDuplicateFields(text, JSON.parse(text)), expected, text);
});

test('the first form of Accept that can be made wins', () => {
  const table = 'application/json;as=Table;v=v1;g=meta.k8s.io';
  const forms: [string | undefined, AnswerShape[], string][] = [
    [undefined, ['object'], 'object json v1'],
    [`${table},application/json`, ['object', 'table'], 'table json v1'],
    ['application/json; g=meta.k8s.io; v = v1beta1; as=Table', ['object', 'table'], 'table json v1beta1'],
    [`${table},application/json`, ['object'], 'object json v1'],
    ['application/cbor,*/*;q=0.1', ['object'], 'object json v1'],
    ['application/yaml,application/json', ['object'], 'object yaml v1'],
    ['application/yaml;as=Table;v=v1;g=meta.k8s.io', ['table'], 'table yaml v1'],
  ];
  for (const [accept, shapes, wanted] of forms) {
    const { shape, isYaml, metaVersion } = negotiate(accept, shapes);
    assert.equal(`${shape} ${isYaml ? 'yaml' : 'json'} ${metaVersion.slice(12)}`, wanted, accept);
  }
  const watched = negotiate('application/yaml,application/json', ['object'], { isStream: true });
  assert.equal(watched.isYaml, false);
  for (const accept of [table, 'text/html', 'application/json;as=Table;v=v9;g=meta.k8s.io']) {
    assert.throws(
      () => negotiate(accept, ['object']),
      (err: unknown) => errorCode(err) === 'EDGE_ERR_API_NOT_ACCEPTABLE',
    );
  }
});

test('merge patches follow the examples of RFC 7386 appendix A', () => {
  const cases: [unknown, unknown, unknown][] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ];
  for (const [target, patch, result] of cases) assert.deepEqual(mergePatch(target, patch), result);
});

test('token files give users and roles; mistakes name the line and never the token', () => {
  const find = parseTokenFile(
    '# comment\n\nt1,alice,7,"system:masters,x"\n t2 , bob ,,edge:router\nt3,carol\n"t,4",dave,,sidecar\n',
    'f',
  );
  assert.deepEqual(find('t1'), {
    username: 'alice',
    uid: '7',
    groups: ['system:masters', 'x', 'system:authenticated'],
    roles: ['admin'],
  });
  assert.deepEqual(find('t2')?.roles, ['router']);
  assert.deepEqual(find('t3')?.roles, []);
  assert.deepEqual(find('t,4')?.roles, ['sidecar']);
  assert.equal(find('t5'), undefined);
  assert.equal(find(''), undefined);
  assert.throws(
    () => parseTokenFile('t1,alice\nsecret\n', 'tokens.csv'),
    (err: unknown) =>
      errorCode(err) === 'EDGE_ERR_USAGE' &&
      String(err).startsWith('UsageError: tokens.csv:2: ') &&
      !String(err).includes('secret'),
  );
});
