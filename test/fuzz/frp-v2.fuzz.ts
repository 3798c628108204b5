/**
 * Throws damaged frames, hellos and records at what reads frp's wire protocol v2: the only failures allowed are typed
 * errors, pieces never matter, and no byte of a record that was touched is delivered. FUZZ_SEED repeats a run, FUZZ_MS
 * sets its time (3000), for each target.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ByteStream, ByteStreamHandler } from '../../src/tunnel/byte-stream.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { aeadStream } from '../../src/tunnel/frp/aead.ts';
import { MESSAGES, message } from '../../src/tunnel/frp/message.ts';
import type { Message, MessageName } from '../../src/tunnel/frp/message.ts';
import {
  encodeV2,
  encodeV2Frame,
  MAX_V2_PAYLOAD_BYTES,
  V2_MAGIC,
  V2Decoder,
} from '../../src/tunnel/frp/v2.ts';
import {
  acceptServerHello,
  answerClientHello,
  createClientHello,
} from '../../src/tunnel/frp/v2-handshake.ts';
import { DetectingDecoder } from '../../src/tunnel/frp/wire-protocol.ts';
import type { MessageDecoder } from '../../src/tunnel/frp/wire-protocol.ts';
import { below, fuzz, pick, random } from '../support/fuzz.ts';

/** Cuts bytes into pieces of random sizes. */
function pieces(bytes: Buffer, largest: number): Buffer[] {
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + 1 + below(largest));
    out.push(bytes.subarray(at, end));
    at = end;
  }
  return out;
}

const NAMES = Object.keys(MESSAGES) as MessageName[];
const VALUES = [
  '',
  'x',
  0,
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
  if (random() < 0.4) return encodeV2(message(name) as Message);
  const members: Record<string, unknown> = {};
  for (const field of [...Object.keys(MESSAGES[name].fields), '__proto__', 'constructor']) {
    if (random() < 0.3) Object.defineProperty(members, field, { value: pick(VALUES), enumerable: true });
  }
  const id = Buffer.alloc(2);
  id.writeUInt16BE(random() < 0.9 ? MESSAGES[name].v2 : below(65_536));
  const type = random() < 0.9 ? 16 : pick([0, 1, 2, 3, 17, 65_535]);
  return encodeV2Frame({ type, payload: Buffer.concat([id, Buffer.from(JSON.stringify(members))]) });
}

function damage(bytes: Buffer, limit: number): void {
  for (let count = below(limit); count > 0; count--) bytes[below(bytes.length)] = below(256);
}

/** What a decoder makes of bytes: messages in order, and how it ended. */
function decode(decoder: MessageDecoder, chunks: readonly Buffer[]): { messages: Message[]; end: string } {
  const messages: Message[] = [];
  try {
    for (const chunk of chunks) {
      decoder.push(chunk);
      for (let next = decoder.next(); next !== undefined; next = decoder.next()) messages.push(next);
    }
  } catch (err) {
    if (!(err instanceof TunnelError)) throw err;
    return { messages, end: err.message };
  }
  const rest = decoder.takeRest();
  assert.ok(rest.length < MAX_V2_PAYLOAD_BYTES + 8);
  return { messages, end: `rest ${rest.toString('hex')}` };
}

test('the v2 decoder survives any frames and damage, and pieces make no difference', async () => {
  await fuzz('frp v2', () => {
    const wire = Buffer.concat([
      ...(random() < 0.9 ? [V2_MAGIC] : []),
      ...Array.from({ length: 1 + below(3) }, someMessage),
    ]);
    damage(wire, 4);
    const largest = pick([1, 8, 200]);
    const whole = decode(new DetectingDecoder(() => {}), [wire]);
    const split = decode(new DetectingDecoder(() => {}), pieces(wire, largest));
    assert.equal(JSON.stringify(split), JSON.stringify(whole));
    for (const value of whole.messages) {
      const again = decode(new V2Decoder(), [encodeV2(value)]);
      assert.equal(JSON.stringify(again.messages), JSON.stringify([value]));
    }
  });
});

const HELLO_VALUES = [
  undefined,
  null,
  0,
  'json',
  'aes-256-gcm',
  [],
  ['json'],
  ['aes-256-gcm'],
  {},
  'A'.repeat(43),
  true,
];

function someHello(): Buffer {
  const random32 = Buffer.alloc(32, below(256));
  const maybe = (right: unknown): unknown => (random() < 0.8 ? right : pick(HELLO_VALUES));
  const client = {
    capabilities: maybe({
      message: maybe({ codecs: maybe(['json']) }),
      crypto: maybe({ algorithms: maybe(['aes-256-gcm']), clientRandom: maybe(random32.toString('base64')) }),
    }),
  };
  const server = {
    selected: maybe({
      message: maybe({ codec: maybe('json') }),
      crypto: maybe({ algorithm: maybe('aes-256-gcm'), serverRandom: maybe(random32.toString('base64')) }),
    }),
    error: random() < 0.9 ? undefined : pick(HELLO_VALUES),
  };
  const hello = Buffer.from(JSON.stringify(random() < 0.5 ? client : server));
  if (random() < 0.5) damage(hello, 3);
  return hello;
}

test('hellos of any content are answered or refused', async () => {
  const clientHello = createClientHello({ transport: 'tcp', tls: true, tcpMux: true }, Buffer.alloc(32));
  await fuzz('frp v2 hellos', () => {
    const hello = someHello();
    try {
      const { payload, context } = answerClientHello(hello, Buffer.alloc(32, 1));
      if (context === undefined) assert.throws(() => acceptServerHello(hello, payload), TunnelError);
      else assert.deepEqual(acceptServerHello(hello, payload), context);
    } catch (err) {
      if (!(err instanceof TunnelError)) throw err;
    }
    try {
      assert.equal(acceptServerHello(clientHello, hello).transcriptHash.length, 32);
    } catch (err) {
      if (!(err instanceof TunnelError)) throw err;
    }
  });
});

/** A transport that remembers what was written and how it was destroyed. */
class Line implements ByteStream {
  handler: ByteStreamHandler | undefined;
  readonly written: Buffer[] = [];
  error: Error | undefined;
  queuedBytes = 0;
  write(chunk: Uint8Array): void {
    this.written.push(Buffer.from(chunk));
  }
  end(): void {}
  destroy(err?: Error): void {
    this.error = err;
  }
  pause(): void {}
  resume(): void {}
  setHandler(handler: ByteStreamHandler): void {
    this.handler = handler;
  }
}

const KEYS = { send: Buffer.alloc(32, 7), receive: Buffer.alloc(32, 7) };

test('a stream of records delivers what was written, or a part of it and an error', async () => {
  await fuzz('frp v2 records', () => {
    const sender = new Line();
    const nonce = Buffer.alloc(12, pick([0, 0xa5, 0xff]));
    nonce[11] = below(256);
    const sealed = aeadStream(sender, KEYS, () => Buffer.from(nonce));
    const plain: Buffer[] = [];
    for (let count = below(5); count > 0; count--) {
      const chunk = Buffer.alloc(random() < 0.99 ? 1 + below(40) : 65_530 + below(20), below(256));
      plain.push(chunk);
      sealed.write(chunk);
    }
    // Where each record ends, on the line and in the plain text.
    const sent = Buffer.concat(plain);
    const wire = Buffer.concat(sender.written);
    const written = sender.error === undefined;

    const action = pick(['none', 'flip', 'cut', 'swap', 'insert'] as const);
    let received = wire;
    let firstTouched = wire.length;
    if (wire.length > 0 && action === 'flip') {
      received = Buffer.from(wire);
      firstTouched = below(wire.length);
      received[firstTouched] = (received[firstTouched] ?? 0) ^ (1 << below(8));
    } else if (action === 'cut') {
      firstTouched = below(wire.length + 1);
      received = wire.subarray(0, firstTouched);
    } else if (action === 'insert') {
      firstTouched = below(wire.length + 1);
      received = Buffer.concat([
        wire.subarray(0, firstTouched),
        Buffer.of(below(256)),
        wire.subarray(firstTouched),
      ]);
    } else if (action === 'swap' && sender.written.length > 2) {
      received = Buffer.concat([...sender.written.slice(0, 1), ...sender.written.slice(1).reverse()]);
    }

    const line = new Line();
    const got: Buffer[] = [];
    let hasEnded = false;
    aeadStream(line, KEYS).setHandler({
      onData: (chunk) => {
        got.push(chunk);
      },
      onEnd: () => {
        hasEnded = true;
      },
      onDrain: () => {},
      onClose: () => {},
    });
    const opened = received.length === 0 ? [] : pieces(Buffer.from(received), pick<number>([1, 30, 100_000]));
    // Byte by byte only where it is short.
    const fed = opened.length > 5000 ? [Buffer.from(received)] : opened;
    for (const piece of fed) line.handler?.onData(piece);
    line.handler?.onEnd();

    const delivered = Buffer.concat(got);
    assert.ok(delivered.equals(sent.subarray(0, delivered.length)), `${action}: other bytes were delivered`);
    assert.notEqual(hasEnded, line.error !== undefined);
    if (line.error !== undefined) assert.ok(line.error instanceof TunnelError);
    if (received.equals(wire) && written) {
      assert.equal(delivered.length, sent.length);
      assert.equal(hasEnded, true);
    }
    if (action === 'flip' && wire.length > 0)
      assert.equal(hasEnded, false, `flip at ${firstTouched} was not noticed`);
    assert.ok(delivered.length <= firstTouched);
  });
});
