/** Unit tests of command lines, with a real shell as the judge. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { commandText, splitCommand } from './command-line.ts';

test('what stands behind the first -- is the command, as it is', () => {
  assert.deepEqual(splitCommand(['n', '-t', '--', 'sh', '--', '-c']), {
    own: ['n', '-t'],
    command: ['sh', '--', '-c'],
    hasCommand: true,
  });
  assert.deepEqual(splitCommand(['n']), { own: ['n'], command: [], hasCommand: false });
});

test('a shell reads the words that were given', () => {
  const words = ['printf', '%s|', 'a b', '', "it's", '$HOME', '*', 'x;y', 'ä"', '-n', '\\'];
  const output = execFileSync('sh', ['-c', commandText(words)], { encoding: 'utf8' });
  assert.deepEqual(output.split('|').slice(0, -1), words.slice(2));
});

test('one word alone is for the shell', () => {
  assert.equal(commandText(['echo a | wc -c']), 'echo a | wc -c');
});
