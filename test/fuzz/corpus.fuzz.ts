/**
 * Reads what real frp programs said (test/fuzz/corpus) with every decoder of the tunnel: as it was said it must be
 * understood, changed it must be understood or refused with a typed error, within its bounds, in pieces of any size.
 * FUZZ_SEED repeats a run, FUZZ_MS sets its time, for each target.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ByteStream, ByteStreamHandler } from '../../src/tunnel/byte-stream.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { aeadStream } from '../../src/tunnel/frp/aead.ts';
import { cipherStream, deriveKey } from '../../src/tunnel/frp/cipher.ts';
import { MessageChannel } from '../../src/tunnel/frp/message-channel.ts';
import type { Message } from '../../src/tunnel/frp/message.ts';
import { decodeProxyHeader } from '../../src/tunnel/frp/proxy-protocol.ts';
import { snappyStream } from '../../src/tunnel/frp/snappy.ts';
import { V1Decoder } from '../../src/tunnel/frp/v1.ts';
import { V2_MAGIC, V2Decoder } from '../../src/tunnel/frp/v2.ts';
import { DetectingDecoder } from '../../src/tunnel/frp/wire-protocol.ts';
import type { MessageDecoder } from '../../src/tunnel/frp/wire-protocol.ts';
import { YamuxSession } from '../../src/tunnel/yamux/session.ts';
import { inPieces, mutated, readCorpus } from '../support/corpus.ts';
import type { Seed } from '../support/corpus.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { below, fuzz, pick, random } from '../support/fuzz.ts';

/** A transport that takes everything and remembers how much, and how it ended. */
class Line implements ByteStream {
  handler: ByteStreamHandler | undefined;
  readonly sent: Buffer[] = [];
  written = 0;
  error: Error | undefined;
  queuedBytes = 0;
  write(chunk: Uint8Array): void {
    this.written += chunk.length;
    if (this.written < 100_000) this.sent.push(Buffer.from(chunk));
  }
  end(): void {}
  destroy(err?: Error): void {
    this.error ??= err;
  }
  pause(): void {}
  resume(): void {}
  setHandler(handler: ByteStreamHandler): void {
    this.handler = handler;
  }
}

/** Either a seed as it is, one time in ten, or changed. */
function input(seeds: readonly Seed[]): { seed: Seed; bytes: Buffer; isIntact: boolean } {
  const seed = pick(seeds);
  const isIntact = random() < 0.1;
  const bytes = isIntact ? Buffer.from(seed.bytes) : mutated(seed.bytes, seeds);
  return { seed, bytes, isIntact };
}

const isFromClient = ({ name }: Seed): boolean => name.startsWith('frpc');

test('mux sessions, and the messages in their streams', async () => {
  const seeds = readCorpus('mux');
  await fuzz('corpus: mux', () => {
    const { seed, bytes, isIntact } = input(seeds);
    const line = new Line();
    const clock = new FakeClock();
    let opened = 0;
    const session = new YamuxSession(
      line,
      isFromClient(seed) ? 'server' : 'client',
      {
        onStream: (stream) => {
          opened += 1;
          const channel = new MessageChannel(stream, clock, 'detect');
          channel.expect(['Login', 'NewWorkConn', 'NewVisitorConn'], 10_000).catch((err: unknown) => {
            assert.ok(err instanceof Error);
          });
        },
        onClose: () => {},
      },
      { clock },
      { maxStreams: 64 },
    );
    // The streams that the answers are for.
    if (!isFromClient(seed)) for (let count = 0; count < 8; count++) session.openStream();
    inPieces(bytes, pick([1, 50, 10_000]), (piece) => line.handler?.onData(piece));
    if (isIntact) assert.equal(session.isClosed, false, seed.name);
    if (isIntact && isFromClient(seed)) assert.ok(opened >= 4, `${seed.name}: ${opened} streams`);
    assert.ok(session.streamCount <= 64 && line.written < 100_000);
    session.close();
  });
});

function decodeAll(decoder: MessageDecoder, bytes: Buffer, limit = Infinity): Message[] {
  const messages: Message[] = [];
  try {
    inPieces(bytes, pick([1, 50, 10_000]), (piece) => {
      decoder.push(piece);
      while (messages.length < limit) {
        const next = decoder.next();
        if (next === undefined) break;
        messages.push(next);
      }
    });
  } catch (err) {
    if (!(err instanceof TunnelError)) throw err;
  }
  assert.ok(decoder.takeRest().length < 100_000);
  return messages;
}

for (const wire of ['v1', 'v2'] as const) {
  test(`connections in wire protocol ${wire}`, async () => {
    const seeds = readCorpus(wire);
    await fuzz(`corpus: frp ${wire}`, () => {
      const { seed, bytes, isIntact } = input(seeds);
      const decoder = isFromClient(seed)
        ? new DetectingDecoder(() => {})
        : wire === 'v2'
          ? new V2Decoder(() => {})
          : new V1Decoder();
      const [first] = decodeAll(decoder, bytes, 1);
      if (!isIntact) return;
      const wanted = isFromClient(seed)
        ? ['Login', 'NewWorkConn', 'NewVisitorConn']
        : ['LoginResp', 'StartWorkConn', 'NewVisitorConnResp'];
      assert.ok(first !== undefined && wanted.includes(first.name), `${seed.name}: ${first?.name}`);
    });
  });
}

/** What a stream wrapped around a line delivers of bytes, and how that ended. */
function deliver(wrap: (line: Line) => ByteStream, bytes: Buffer): { plain: Buffer; line: Line } {
  const line = new Line();
  const got: Buffer[] = [];
  const stream = wrap(line);
  stream.setHandler({
    onData: (chunk) => {
      got.push(Buffer.from(chunk));
    },
    onEnd: () => {},
    onDrain: () => {},
    onClose: () => {},
  });
  stream.resume();
  inPieces(bytes, pick([1, 50, 10_000]), (piece) => line.handler?.onData(piece));
  if (line.error !== undefined) assert.ok(line.error instanceof TunnelError);
  return { plain: Buffer.concat(got), line };
}

/** The encrypted part of a control connection in v1: all that follows the login, or its answer. */
function controlSeeds(): Seed[] {
  return readCorpus('v1')
    .filter(({ name }) => name.endsWith('-0.bin'))
    .map(({ name, bytes }) => {
      const decoder = new V1Decoder();
      decoder.push(bytes);
      assert.match(decoder.next()?.name ?? '', /^Login/u);
      return { name, bytes: decoder.takeRest() };
    });
}

test('payload and control connections in the cipher of v1', async () => {
  const key = deriveKey('secret');
  const control = controlSeeds();
  const seeds = [...readCorpus('cipher'), ...control];
  await fuzz('corpus: cipher', () => {
    const { seed, bytes, isIntact } = input(seeds);
    const { plain, line } = deliver((inner) => cipherStream(inner, key), bytes);
    assert.equal(line.error, undefined);
    assert.equal(plain.length, Math.max(0, bytes.length - 16));
    const messages = decodeAll(new V1Decoder(), plain);
    if (!isIntact) return;
    if (control.includes(seed))
      assert.match(messages[0]?.name ?? '', /^(?:NewProxy|ReqWorkConn)/u, seed.name);
    else assert.match(plain.toString(), /^(?:question|answer) /u, seed.name);
  });
});

test('control connections in the records of v2', async () => {
  const keys = { send: Buffer.alloc(32, 7), receive: Buffer.alloc(32, 7) };
  // A real control connection is sealed with keys that only its two ends had; its messages are real.
  const messages = readCorpus('v2').filter(
    ({ name, bytes }) => isFromClient({ name, bytes }) && !name.endsWith('-0.bin'),
  );
  const seeds = messages.map(({ name, bytes }) => {
    const line = new Line();
    const sealed = aeadStream(line, keys, () => Buffer.alloc(12, 1));
    const plain = bytes.subarray(V2_MAGIC.length);
    for (let at = 0; at < plain.length; at += 100) sealed.write(plain.subarray(at, at + 100));
    return { name, bytes: Buffer.concat(line.sent), plain };
  });
  await fuzz('corpus: records', () => {
    const { seed, bytes, isIntact } = input(seeds);
    const { plain, line } = deliver((inner) => aeadStream(inner, keys), bytes);
    const said = seeds.find(({ name }) => name === seed.name)?.plain ?? Buffer.alloc(0);
    if (isIntact) assert.ok(plain.equals(said) && line.error === undefined);
    // What another seed lent is sealed with the same key and a place of its own, so only beginnings are delivered.
    else assert.ok(seeds.some((each) => plain.equals(each.plain.subarray(0, plain.length))));
    decodeAll(new V2Decoder(), plain);
  });
});

test('compressed payload', async () => {
  const seeds = readCorpus('snappy');
  await fuzz('corpus: snappy', () => {
    const { seed, bytes, isIntact } = input(seeds);
    const { plain, line } = deliver(snappyStream, bytes);
    assert.ok(plain.length <= 65_536 * (1 + bytes.length / 8));
    if (!isIntact) return;
    assert.equal(line.error, undefined, seed.name);
    assert.match(plain.toString(), /^(?:(?:question ){10}|(?:answer ){60})$/u, seed.name);
  });
});

test('PROXY headers', async () => {
  const seeds = readCorpus('proxy-protocol');
  await fuzz('corpus: PROXY protocol', () => {
    const { seed, bytes, isIntact } = input(seeds);
    try {
      const header = decodeProxyHeader(
        bytes.subarray(0, random() < 0.8 ? bytes.length : below(bytes.length)),
      );
      assert.ok((header?.length ?? 0) <= bytes.length);
      if (isIntact && header !== undefined) {
        assert.equal(header.addresses?.sourceAddr, '127.0.0.1', seed.name);
        assert.match(bytes.toString('latin1', header.length), /^question /u, seed.name);
      }
    } catch (err) {
      if (!(err instanceof TunnelError) || isIntact) throw err;
    }
  });
});
