/** Questions in a terminal: echo and none, erasing, giving up, keys typed ahead, characters of several bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Prompter } from './prompter.ts';

function start() {
  let shown = '';
  const prompter = new Prompter({ write: (text) => (shown += text) });
  return { prompter, feed: (text: string) => prompter.feed(Buffer.from(text)), shown: () => shown };
}

test('an answer is echoed, a secret one is not', async () => {
  const { prompter, feed, shown } = start();
  const user = prompter.ask('login: ', true);
  feed('ro');
  feed('ot\r');
  assert.equal(await user, 'root');
  const password = prompter.ask('Password: ', false);
  feed('s3cret\n');
  assert.equal(await password, 's3cret');
  assert.equal(shown(), 'login: root\r\nPassword: \r\n');
});

test('keys typed ahead answer the questions that follow, and what is left is the shell’s', async () => {
  const { prompter, feed, shown } = start();
  feed('root\r\npass\rls\r');
  assert.equal(await prompter.ask('login: ', true), 'root');
  assert.equal(await prompter.ask('Password: ', false), 'pass');
  assert.equal(prompter.takeRest().toString(), 'ls\r');
  assert.equal(prompter.takeRest().length, 0);
  assert.doesNotMatch(shown(), /pass\r/u);
});

test('characters are erased whole, a line at once, and cursor keys are no text', async () => {
  const { prompter, feed, shown } = start();
  const answer = prompter.ask('? ', true);
  for (const byte of Buffer.from('aä€')) prompter.feed(Buffer.of(byte));
  feed('\u007F\b\u007F\u007F');
  feed('wrong\u0015');
  feed('\u001B[A\u001B[1;5C\u001BOPright\r');
  assert.equal(await answer, 'right');
  assert.equal(shown(), `? aä€${'\b \b'.repeat(3)}wrong${'\b \b'.repeat(5)}right\r\n`);
});

test('^C and ^D give up, and so does the end of the terminal', async () => {
  for (const key of ['\u0003', '\u0004']) {
    const { prompter, feed } = start();
    const answer = prompter.ask('? ', true);
    feed(`abc${key}`);
    assert.equal(await answer, undefined);
  }
  const { prompter } = start();
  const answer = prompter.ask('? ', true);
  prompter.cancel();
  assert.equal(await answer, undefined);
  assert.equal(await prompter.ask('? ', true), undefined);
});

test('answers and keys typed ahead are bounded', async () => {
  const { prompter, feed } = start();
  feed('y'.repeat(100_000));
  assert.equal(prompter.takeRest().length, 8192);
  const answer = prompter.ask('? ', false);
  feed('x'.repeat(5000));
  feed('\r');
  assert.equal((await answer)?.length, 1024);
});
