import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { createSlowLink } from '../../../test/support/slow-link.ts';
import { HIGH_WATER_BYTES } from '../byte-stream.ts';
import type { ByteStream } from '../byte-stream.ts';
import type { YamuxConfig } from './config.ts';
import { YamuxSession } from './session.ts';

const CHUNK = Buffer.alloc(64 * 1024);

/** Writes as long as the stream takes it. */
function flood(stream: ByteStream): void {
  const fill = (): void => {
    while (stream.queuedBytes < HIGH_WATER_BYTES) stream.write(CHUNK);
  };
  stream.setHandler({ onData: () => {}, onEnd: () => {}, onDrain: fill, onClose: () => {} });
  stream.resume();
  fill();
}

/** What one stream carries in the second after it has had one to grow, Mbit/s. */
async function measure(
  delayMs: number,
  config: Partial<YamuxConfig> = {},
  formerDelayMs = delayMs,
): Promise<number> {
  const clock = new FakeClock();
  let nowDelayMs = formerDelayMs;
  const [near, far] = createSlowLink({ clock, delayMs: () => nowDelayMs, bitsPerSecond: 1e9 });
  let received = 0;
  const onStream = (stream: ByteStream): void => {
    stream.setHandler({
      onData: (chunk) => {
        received += chunk.length;
      },
      onEnd: () => {},
      onDrain: () => {},
      onClose: () => {},
    });
    stream.resume();
  };
  const handler = { onStream, onClose: () => {} };
  const client = new YamuxSession(near, 'client', handler, { clock }, config);
  const server = new YamuxSession(far, 'server', handler, { clock }, config);
  await clock.advanceAsync(1000); // the first pings are answered
  nowDelayMs = delayMs;
  flood(client.openStream());
  await clock.advanceAsync(1000);
  const before = received;
  await clock.advanceAsync(1000);
  client.close();
  server.close();
  return ((received - before) * 8) / 1e6;
}

test('a stream over a gigabit line with a round trip of 50 ms carries 480 Mbit/s or more after a second', async (t) => {
  const rate = await measure(25);
  t.diagnostic(`${Math.round(rate)} Mbit/s`);
  assert.ok(rate >= 480, `${Math.round(rate)} Mbit/s`);
});

test('a line that has become slow since it was measured is measured again', async (t) => {
  const rate = await measure(25, {}, 1);
  t.diagnostic(`${Math.round(rate)} Mbit/s`);
  assert.ok(rate >= 480, `${Math.round(rate)} Mbit/s`);
});

test('a window that may not grow holds a stream to one window a round trip', async (t) => {
  const rate = await measure(25, { maxWindowBytes: 256 * 1024 });
  t.diagnostic(`${Math.round(rate)} Mbit/s`);
  assert.ok(rate > 30 && rate < 45, `${Math.round(rate)} Mbit/s`);
});

test('a stream over a gigabit line with a round trip of 100 ms carries what a window of 6 MiB allows', async (t) => {
  const rate = await measure(50);
  t.diagnostic(`${Math.round(rate)} Mbit/s`);
  assert.ok(rate >= 400, `${Math.round(rate)} Mbit/s`);
});
