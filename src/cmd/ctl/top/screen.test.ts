/** Tests of the screen: frames are cut to the terminal, drawn in time, and leave no trace however they end. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { test } from 'node:test';
import { FakeClock } from '../../../../test/support/fake-clock.ts';
import { frameText, runScreen } from './screen.ts';
import type { Terminal } from './screen.ts';

class FakeInput extends EventEmitter {
  isTTY = true;
  isRaw = false;
  setRawMode(isRaw: boolean): void {
    this.isRaw = isRaw;
  }
  resume(): void {}
  pause(): void {}
}

class FakeOutput extends EventEmitter {
  columns = 20;
  rows = 5;
  writableNeedDrain = false;
  written: string[] = [];
  write(text: string, done?: () => void): boolean {
    this.written.push(text);
    done?.();
    return true;
  }
}

function startScreen(frame: () => { text: string }[] = () => [{ text: 'hello' }]) {
  const clock = new FakeClock();
  const [input, output] = [new FakeInput(), new FakeOutput()];
  const ending = new AbortController();
  const terminal = { input, output } as unknown as Terminal;
  const ended = runScreen(
    terminal,
    { clock, intervalMs: 2000, hasColor: true, signal: ending.signal },
    frame,
  );
  const assertRestored = (): void => {
    assert.equal(input.isRaw, false);
    assert.equal(output.written.at(-1), '\u001B[?25h\u001B[?1049l');
    assert.equal(clock.pendingTimers, 0);
    assert.deepEqual([input.eventNames(), output.eventNames()], [[], []]);
  };
  return { clock, input, output, ending, ended, assertRestored };
}

test('a frame is drawn at once, after each interval and when the size changes', async () => {
  const { clock, input, output, ended, assertRestored } = startScreen();
  assert.equal(input.isRaw, true);
  assert.equal(output.written.length, 2);
  clock.advance(4000);
  assert.equal(output.written.length, 4);
  output.emit('resize');
  assert.equal(output.written.length, 5);
  output.writableNeedDrain = true;
  clock.advance(4000);
  assert.equal(output.written.length, 5, 'nothing queues up for a terminal that does not keep up');
  input.emit('data', Buffer.from('q'));
  assert.equal(await ended, 'quit');
  assertRestored();
});

for (const [name, end] of [
  ['Ctrl-C', (world: ReturnType<typeof startScreen>) => world.input.emit('data', Buffer.from('\u0003'))],
  ['the end of the input', (world: ReturnType<typeof startScreen>) => world.input.emit('end')],
  ['a signal', (world: ReturnType<typeof startScreen>) => world.ending.abort()],
] as const) {
  test(`${name} ends it and leaves the terminal as it was`, async () => {
    const world = startScreen();
    world.input.emit('data', Buffer.from('x'));
    end(world);
    assert.equal(await world.ended, 'interrupt');
    world.assertRestored();
  });
}

test('a frame that fails leaves the terminal as it was', async () => {
  let isBroken = false;
  const world = startScreen(() => {
    if (isBroken) throw new Error('broken');
    return [];
  });
  isBroken = true;
  world.clock.advance(2000);
  await assert.rejects(world.ended, /broken/u);
  world.assertRestored();
});

test('lines are cut to the width before they are painted, and to the height with the number of the rest', () => {
  const lines = Array.from({ length: 7 }, (_, at) => ({
    text: `line ${at} that is long`,
    mark: 'problem' as const,
  }));
  const text = frameText(lines, { columns: 6, rows: 3 }, true);
  assert.equal(
    text,
    '\u001B[H\u001B[31mline 0\u001B[0m\u001B[K\r\n\u001B[31mline 1\u001B[0m\u001B[K\r\n… 5 mo\u001B[K\u001B[J',
  );
  assert.doesNotMatch(frameText(lines, { columns: 80, rows: 9 }, false), /\[31m|…/u);
});
