/** Questions at a terminal: whoever answers as soon as one appears is not shown what he types. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { createPrompter } from '../../src/cmd/ctl/ssh/prompter.ts';
import { requireProgram } from '../support/programs.ts';

/** A race between the question and the end of the echo: one try shows little. */
const QUESTIONS = 50;

test('a secret is not shown, however early it is typed', async (t) => {
  const python = requireProgram(t, 'python3');
  if (python === undefined) return;
  const watcher = spawn(python, ['test/support/terminal-watcher.py'], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(() => void watcher.kill('SIGKILL'));
  const lines = createInterface({ input: watcher.stdout })[Symbol.asyncIterator]();
  const nextLine = async (): Promise<string> => String((await lines.next()).value);
  const prompter = createPrompter(await nextLine());
  for (let index = 0; index < QUESTIONS; index++) {
    watcher.stdin.write(`secret ${index}\n`);
    assert.equal(await prompter.ask('Password: ', false), `secret ${index}`);
    assert.match(await nextLine(), /^no echo 'Password: (?:\\[rn])+'$/u);
  }
  watcher.stdin.end();
  await once(watcher, 'exit');
});
