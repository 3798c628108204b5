/** Unit tests of the escape keys. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EscapeFilter } from './escapes.ts';

function typed(...pieces: string[]): { data: string; actions: string[] } {
  const filter = new EscapeFilter();
  const results = pieces.map((piece) => filter.feed(Buffer.from(piece)));
  return {
    data: results.map(({ data }) => data.toString()).join(''),
    actions: results.flatMap(({ actions }) => actions),
  };
}

test('a tilde counts at the beginning of a line only, however it arrives', () => {
  assert.deepEqual(typed('~.'), { data: '', actions: ['disconnect'] });
  assert.deepEqual(typed('ls\r', '~', '.'), { data: 'ls\r', actions: ['disconnect'] });
  assert.deepEqual(typed('cd ~.\r'), { data: 'cd ~.\r', actions: [] });
  assert.deepEqual(typed('\r~?~\u001a'), { data: '\r', actions: ['help', 'suspend'] });
});

test('two tildes are one, and an unknown escape is what was typed', () => {
  assert.deepEqual(typed('~~.'), { data: '~.', actions: [] });
  assert.deepEqual(typed('~x\r~.'), { data: '~x\r', actions: ['disconnect'] });
  assert.deepEqual(typed('~\r~.'), { data: '~\r', actions: ['disconnect'] });
});
