/**
 * Throws damaged and made-up texts at the readers of terminals: frames become a message or keystrokes and never an
 * error, recordings are read or refused with their line, and what a prompter answers was typed. FUZZ_SEED repeats a run.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CAST_ERROR, parseCast } from '../../src/lib/asciicast.ts';
import { readMessage } from '../../src/apiserver/terminal/messages.ts';
import { Prompter } from '../../src/apiserver/terminal/prompter.ts';
import { below, fuzz, pick } from '../support/fuzz.ts';

const FRAMES = [
  '{"type":"resize","cols":80,"rows":24}',
  '{"type":"cmd","cmd":"bHMK"}',
  '{"type":"auth","user":"root","password":"x","private_key":"k","certificate":"c","issue":true}',
  '{"type":"ack","bytes":1000}',
];
const CAST = '{"version":2,"width":80,"height":24}\n[0.5,"o","text"]\n[1,"r","80x24"]\n[2,"i","x"]\n';
const PARTS = ['{', '}', '[', ']', '"', ':', ',', '\\u0000', '1e999', 'null', '-1', '{"type":', '\n', '€'];

function damaged(text: string): string {
  let result = text;
  for (let count = below(4); count >= 0; count--) {
    const at = below(result.length + 1);
    result = pick([
      result.slice(0, at),
      result.slice(0, at) + pick(PARTS) + result.slice(at),
      result.slice(0, at) + result.slice(at + 1 + below(8)),
    ]);
  }
  return result;
}

test('frames', async () => {
  await fuzz('terminal frames', () => {
    const bytes = Buffer.from(damaged(pick(FRAMES)));
    const message = readMessage(bytes, below(10) === 0);
    if (message.kind === 'resize') assert.ok(message.cols >= 1 && message.rows >= 1 && message.cols <= 1000);
    if (message.kind === 'wrong') assert.ok(message.why.length < 200);
  });
});

test('recordings', async () => {
  await fuzz('recordings', () => {
    const text = damaged(CAST);
    try {
      const { header, events } = parseCast(text);
      assert.ok(header.width >= 1 && header.height >= 1);
      for (const [at, { time }] of events.entries())
        assert.ok(at === 0 || time >= (events[at - 1]?.time ?? 0));
    } catch (err) {
      assert.equal((err as { code?: string }).code, CAST_ERROR, String(err));
      assert.match((err as Error).message, /^recording: line \d+: /u);
    }
  });
});

test('prompts', async () => {
  await fuzz('prompts', () => {
    const prompter = new Prompter({ write: () => {} });
    const bytes = Buffer.from(
      Array.from({ length: below(40) }, () => pick([13, 3, 8, 27, 91, 0xe2, 0x82, below(256)])),
    );
    void prompter.ask('', true).then((answer) => {
      // not one control character comes through
      assert.ok(answer === undefined || !Buffer.from(answer).some((byte) => byte < 0x20));
    });
    prompter.feed(bytes);
    assert.ok(prompter.takeRest().length <= bytes.length);
  });
});
