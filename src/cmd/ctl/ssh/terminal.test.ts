/** A terminal joined with a channel, both made of streams. */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { FakeClock } from '../../../../test/support/fake-clock.ts';
import type { ChannelExit, SshChannel } from '../../../ssh/channel.ts';
import { runAtTerminal } from './terminal.ts';
import type { LocalTerminal } from './terminal.ts';

function fakeTerminal(): LocalTerminal {
  const input = Object.assign(new PassThrough(), { setRawMode: () => input });
  const output = Object.assign(new PassThrough(), { columns: 80, rows: 24 });
  return { input, output } as unknown as LocalTerminal;
}

test('the node is told of a size that changed before the channel was there, and of later ones', async () => {
  const terminal = fakeTerminal();
  const sizes: number[][] = [];
  let end: (exit: ChannelExit) => void = () => {};
  const channel: SshChannel = {
    io: new PassThrough(),
    stderr: new PassThrough(),
    exit: new Promise((resolve) => {
      end = resolve;
    }),
    resize: (cols, rows) => void sizes.push([cols, rows]),
    signal: () => {},
    close: () => {},
  };
  // asked for with 80 by 24; nobody listened when the window grew
  Object.assign(terminal.output, { columns: 100, rows: 30 });
  const done = runAtTerminal(channel, terminal, { clock: new FakeClock(), idleTimeoutMs: 0 });
  Object.assign(terminal.output, { columns: 120, rows: 41 });
  terminal.output.emit('resize');
  end({ status: 3, signal: undefined });
  assert.equal((await done).status, 3);
  assert.deepEqual(sizes, [
    [100, 30],
    [120, 41],
  ]);
});
