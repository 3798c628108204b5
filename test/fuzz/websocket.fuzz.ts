/**
 * Throws damaged requests and frames at the websocket side of a tunnel server: whatever comes, the bytes inside well
 * formed frames are delivered, everything else ends one connection with a typed error. FUZZ_SEED repeats a run,
 * FUZZ_MS sets its time (3000), for each target.
 */
import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { WebSocketUpgrades } from '../../src/tunnel/websocket/upgrade.ts';
import { createRandom } from '../support/random.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000_000);
const TIME_MS = Number(process.env['FUZZ_MS'] ?? 3000);

const random = createRandom(SEED);
const below = (limit: number): number => Math.floor(random() * limit);
const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T;

const turn = (): Promise<void> =>
  new Promise((resolve) => {
    setImmediate(resolve);
  });

/** Runs `once` until time is up, many at a time; a failure names the seed. */
async function fuzz(name: string, once: () => Promise<void>): Promise<void> {
  const end = performance.now() + TIME_MS;
  let inputs = 0;
  try {
    while (performance.now() < end) {
      await Promise.all(Array.from({ length: 50 }, once));
      inputs += 50;
    }
  } catch (err) {
    throw new Error(`${name}: input ${inputs}, FUZZ_SEED=${SEED}`, { cause: err });
  }
  process.stderr.write(`${name}: ${inputs} inputs, seed ${SEED}\n`);
}

/** A connection without a network: what the peer sent, and what it is sent. */
class Line extends Duplex {
  readonly sent: Buffer[] = [];
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.sent.push(chunk);
    done();
  }
  override _final(done: () => void): void {
    done();
    this.push(null); // a peer that hangs up in turn
  }
}

const upgrades = new WebSocketUpgrades();

const HEADERS = [
  'Host: x',
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version: 13',
  'Origin: http://x',
];
const GOOD = Buffer.from(`GET /~!frp HTTP/1.1\r\n${HEADERS.join('\r\n')}\r\n\r\n`);

/** Feeds bytes in pieces, and hangs up at the end; answers what came of it. */
async function serve(chunks: readonly Buffer[]): Promise<{ outcome: Duplex | undefined; line: Line }> {
  const line = new Line();
  line.on('error', () => {});
  let outcome: Duplex | undefined;
  let failure: unknown;
  upgrades.accept(line).then(
    (duplex) => {
      outcome = duplex;
      duplex.on('error', () => {});
    },
    (err: unknown) => {
      failure = err;
    },
  );
  for (const chunk of chunks) {
    if (line.destroyed) break;
    line.push(chunk);
    if (random() < 0.2) await turn();
  }
  await turn();
  if (outcome === undefined && failure === undefined) {
    line.destroy();
    await turn();
    await turn();
    assert.ok(failure !== undefined || outcome !== undefined, 'an upgrade that never ends');
  }
  if (failure !== undefined) assert.ok(failure instanceof TunnelError);
  return { outcome, line };
}

function pieces(bytes: Buffer): Buffer[] {
  const out: Buffer[] = [];
  const largest = pick([5, 60, 1000]);
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + 1 + below(largest));
    out.push(bytes.subarray(at, end));
    at = end;
  }
  return out;
}

test('requests of any shape are upgraded or refused', async () => {
  await fuzz('websocket upgrades', async () => {
    let request = Buffer.from(GOOD);
    if (random() < 0.3) {
      const lines = HEADERS.filter(() => random() < 0.8);
      if (random() < 0.3)
        lines.push(pick(['Content-Length: 5', 'Transfer-Encoding: chunked', 'X: \u0001', 'Host: y', ':']));
      const method = pick(['GET', 'POST', 'HEAD', 'OPTIONS', 'CONNECT', 'PRI', 'G']);
      const target = pick(['/~!frp', '/', '*', 'http://x/~!frp', '/~!frp?x', '//', '/%00']);
      request = Buffer.from(`${method} ${target} HTTP/1.${below(3)}\r\n${lines.join('\r\n')}\r\n\r\n`);
    }
    for (let count = below(4); count > 0; count--) request[below(request.length)] = below(256);
    const { outcome, line } = await serve(pieces(request));
    const answer = Buffer.concat(line.sent).toString('latin1');
    assert.equal(outcome !== undefined, answer.startsWith('HTTP/1.1 101 '));
    outcome?.destroy();
    line.destroy();
  });
});

function frame(opcode: number, isFinal: boolean, payload: Buffer): Buffer {
  const mask = Buffer.from([below(256), below(256), below(256), below(256)]);
  const { length } = payload;
  const size =
    length < 126
      ? Buffer.of(0x80 | length)
      : random() < 0.8
        ? Buffer.of(0x80 | 126, length >> 8, length & 0xff)
        : Buffer.of(0x80 | 127, 0, 0, 0, 0, 0, 0, length >> 8, length & 0xff);
  const masked = payload.map((byte, at) => byte ^ (mask[at & 3] ?? 0));
  return Buffer.concat([Buffer.of((isFinal ? 0x80 : 0) | opcode), size, mask, masked]);
}

test('frames deliver their bytes, whatever their borders, and damage ends one connection', async () => {
  await fuzz('websocket frames', async () => {
    const frames: Buffer[] = [];
    const payloads: Buffer[] = [];
    for (let count = below(4); count > 0; count--) {
      const parts = 1 + below(3);
      for (let part = 0; part < parts; part++) {
        const payload = Buffer.alloc(pick([0, 1, 5, 125, 126, 300]), below(256));
        payloads.push(payload);
        frames.push(frame(part === 0 ? pick([1, 2]) : 0, part === parts - 1, payload));
        if (random() < 0.2) frames.push(frame(pick([9, 10]), true, Buffer.alloc(below(126))));
      }
    }
    const isClosed = random() < 0.3;
    if (isClosed) frames.push(frame(8, true, pick([Buffer.alloc(0), Buffer.of(3, 232)])));
    const wire = Buffer.concat(frames);
    const isDamaged = wire.length > 0 && random() < 0.6;
    if (isDamaged) {
      for (let count = 1 + below(3); count > 0; count--) wire[below(wire.length)] = below(256);
    }
    const { outcome, line } = await serve([GOOD]);
    assert.ok(outcome);
    const got: Buffer[] = [];
    let hasEnded = false;
    let error: Error | undefined;
    outcome.on('data', (chunk: Buffer) => got.push(chunk));
    outcome.on('end', () => {
      hasEnded = true;
    });
    outcome.on('error', (err) => {
      error = err;
    });
    for (const piece of pieces(wire)) {
      if (line.destroyed) break;
      line.push(piece);
    }
    for (let count = 0; count < 4; count++) await turn();
    if (isDamaged) {
      if (error !== undefined) assert.ok(error instanceof TunnelError, String(error));
    } else {
      assert.ok(Buffer.concat(got).equals(Buffer.concat(payloads)));
      assert.equal(error, undefined);
      assert.equal(hasEnded, isClosed);
    }
    outcome.destroy();
    line.destroy();
    await turn();
    assert.ok(outcome.destroyed);
  });
});
