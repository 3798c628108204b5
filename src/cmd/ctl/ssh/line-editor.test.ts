/** Unit tests of the line editor. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LineEditor } from './line-editor.ts';

function type(...pieces: (string | Buffer)[]): { text: string; state: string; echo: string } {
  const editor = new LineEditor();
  let echo = '';
  let state = '';
  for (const piece of pieces) {
    const step = editor.feed(Buffer.from(piece));
    echo += step.echo;
    ({ state } = step);
  }
  return { text: editor.text, state, echo };
}

test('a line ends with Return, and nothing after it counts', () => {
  assert.deepEqual(type('se', 'cret\rmore'), { text: 'secret', state: 'done', echo: 'secret' });
  assert.equal(type('half').state, 'typing');
});

test('characters of several bytes survive being split, and go as one', () => {
  const bytes = Buffer.from('ä€\u007F\r');
  for (let at = 1; at < bytes.length; at++)
    assert.equal(type(bytes.subarray(0, at), bytes.subarray(at)).text, 'ä');
});

test('Ctrl-U clears, Ctrl-C gives up, Ctrl-D only on an empty line', () => {
  assert.equal(type('wrong\u0015right\r').text, 'right');
  assert.equal(type('abc\u0003').state, 'given-up');
  assert.equal(type('\u0004').state, 'given-up');
  assert.deepEqual(type('a\u0004b\r').text, 'ab');
});
