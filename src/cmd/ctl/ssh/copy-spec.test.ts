/** Unit tests of the arguments of cp. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePlace } from './copy-spec.ts';

test('a node is named before a colon, as with scp', () => {
  assert.deepEqual(parsePlace('root@node-7:/etc/hosts'), {
    node: 'node-7',
    user: 'root',
    path: '/etc/hosts',
  });
  assert.deepEqual(parsePlace('node-7:a:b'), { node: 'node-7', user: undefined, path: 'a:b' });
  for (const home of ['node-7:', 'node-7:~', 'node-7:~/']) assert.equal(parsePlace(home).path, '.');
  assert.equal(parsePlace('node-7:~/x').path, 'x');
  for (const local of ['file', './a:b', '/a:b', '../x']) assert.equal(parsePlace(local).node, undefined);
  for (const wrong of ['', ':x', 'root@:x'])
    assert.throws(() => parsePlace(wrong), { code: 'EDGE_ERR_USAGE' });
});
