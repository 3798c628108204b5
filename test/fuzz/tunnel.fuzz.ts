/**
 * Throws damaged frames at the mux session and the frp decoder: the only failures allowed are their typed errors,
 * and nothing may be held beyond the windows. FUZZ_SEED repeats a run, FUZZ_MS sets its time (3000).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ByteStream, ByteStreamHandler } from '../../src/tunnel/byte-stream.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { MESSAGES, message } from '../../src/tunnel/frp/message.ts';
import type { Message, MessageName } from '../../src/tunnel/frp/message.ts';
import { encodeV1, MAX_BODY_BYTES, V1Decoder } from '../../src/tunnel/frp/v1.ts';
import { encodeHeader, INITIAL_WINDOW_BYTES } from '../../src/tunnel/yamux/frame.ts';
import { YamuxSession } from '../../src/tunnel/yamux/session.ts';
import type { YamuxStream } from '../../src/tunnel/yamux/stream.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { below, fuzz, pick, random } from '../support/fuzz.ts';

/** A transport that takes everything and remembers nothing but how much it was given. */
class Sink implements ByteStream {
  handler: ByteStreamHandler | undefined;
  written = 0;
  queuedBytes = 0;
  write(chunk: Uint8Array): void {
    this.written += chunk.length;
  }
  end(): void {}
  destroy(): void {}
  pause(): void {}
  resume(): void {}
  setHandler(handler: ByteStreamHandler): void {
    this.handler = handler;
  }
}

const EDGE_LENGTHS = [0, 1, 11, 12, 13, 255, 256, 65_535, 262_143, 262_144, 262_145, 0x7fffffff, 0xffffffff];

function someFrame(): Buffer {
  const type = random() < 0.95 ? below(4) : below(256);
  const flags = random() < 0.9 ? pick([0, 0, 1, 2, 4, 8, 5, 3]) : below(65_536);
  const streamId = random() < 0.9 ? below(8) : pick([0xffffffff, 0x80000000, below(65_536)]);
  const length = random() < 0.5 ? below(64) : pick(EDGE_LENGTHS);
  const header = encodeHeader(type, flags, streamId, length);
  if (random() < 0.02) header[0] = below(256);
  const body =
    type === 0
      ? Buffer.alloc(Math.min(length, below(2) === 0 ? length : below(300), 300_000))
      : Buffer.alloc(0);
  return Buffer.concat([header, body]);
}

test('a mux session survives any frames, splits and truncations', async () => {
  await fuzz('mux', () => {
    const sink = new Sink();
    const clock = new FakeClock();
    const streams: YamuxStream[] = [];
    const session = new YamuxSession(
      sink,
      'server',
      { onStream: (stream) => streams.push(stream), onClose: () => {} },
      { clock },
      { maxStreams: 4 },
    );
    const held = new Map<YamuxStream, number>();
    const wire = Buffer.concat(Array.from({ length: 1 + below(6) }, someFrame));
    const { handler } = sink;
    for (let at = 0; at < wire.length;) {
      const end = Math.min(wire.length, at + (random() < 0.5 ? 1 + below(40) : wire.length));
      handler?.onData(wire.subarray(at, end));
      at = end;
      for (const stream of streams) {
        if (held.has(stream)) continue;
        held.set(stream, 0);
        stream.setHandler({
          onData: (chunk) => {
            held.set(stream, (held.get(stream) ?? 0) + chunk.length);
          },
          onEnd: () => {},
          onDrain: () => {},
          onClose: () => {},
        });
        if (random() < 0.5) stream.resume();
        if (random() < 0.3) stream.write(Buffer.alloc(below(1000)));
        if (random() < 0.2) stream.end();
        if (random() < 0.1) stream.destroy();
      }
    }
    assert.ok(session.streamCount <= 4, `${session.streamCount} streams open`);
    assert.ok(sink.written < 100_000, `${sink.written} bytes were sent in answer`);
    for (const bytes of held.values())
      assert.ok(bytes <= INITIAL_WINDOW_BYTES * 8, `${bytes} bytes accepted on one stream`);
    session.close();
    assert.equal(clock.pendingTimers <= 1, true, 'timers are left');
  });
});

const NAMES = Object.keys(MESSAGES) as MessageName[];
const VALUES = [
  '',
  'x',
  0,
  1,
  -1,
  1.5,
  1e308,
  true,
  null,
  [],
  ['a'],
  [1],
  {},
  { a: 'b' },
  { a: 1 },
  '\u0000',
  '\u{1F600}',
];

function someMessage(): Buffer {
  const name = pick(NAMES);
  if (random() < 0.3) return encodeV1(message(name) as Message);
  const members: Record<string, unknown> = {};
  for (const field of [...Object.keys(MESSAGES[name].fields), '__proto__', 'constructor']) {
    if (random() < 0.5) Object.defineProperty(members, field, { value: pick(VALUES), enumerable: true });
  }
  const json = Buffer.from(JSON.stringify(members));
  const header = Buffer.alloc(9);
  header.write(MESSAGES[name].v1);
  header.writeUInt32BE(json.length, 5);
  return Buffer.concat([header, json]);
}

test('the frp decoder survives any messages, damage and splits', async () => {
  await fuzz('frp v1', () => {
    const wire = Buffer.concat(Array.from({ length: 1 + below(3) }, someMessage));
    for (let count = below(4); count > 0; count--) wire[below(wire.length)] = below(256);
    const decoder = new V1Decoder();
    try {
      for (let at = 0; at < wire.length;) {
        const end = Math.min(wire.length, at + 1 + below(200));
        decoder.push(wire.subarray(at, end));
        at = end;
        for (let next = decoder.next(); next !== undefined; next = decoder.next()) {
          assert.ok(NAMES.includes(next.name));
          // What was decoded can be encoded again and means the same.
          const again = new V1Decoder();
          again.push(encodeV1(next));
          assert.deepEqual(JSON.stringify(again.next()), JSON.stringify(next));
        }
      }
    } catch (err) {
      if (!(err instanceof TunnelError)) throw err;
    }
    assert.ok(decoder.takeRest().length <= MAX_BODY_BYTES + 9 + 200);
  });
});
