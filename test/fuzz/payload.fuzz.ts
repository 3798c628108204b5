/**
 * Throws damaged snappy streams and PROXY headers at their decoders: only typed errors are allowed, nothing may be
 * larger than its bound, and what is intact must come back. FUZZ_SEED repeats a run, FUZZ_MS sets its time (3000).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TunnelError } from '../../src/tunnel/errors.ts';
import { decodeProxyHeader, encodeProxyHeader } from '../../src/tunnel/frp/proxy-protocol.ts';
import {
  compressBlock,
  decompressBlock,
  MAX_BLOCK_BYTES,
  maxCompressedBytes,
} from '../../src/tunnel/frp/snappy-block.ts';
import { SnappyDecoder, SnappyEncoder } from '../../src/tunnel/frp/snappy-framing.ts';
import { below, fuzz, pick, random } from '../support/fuzz.ts';

function someBytes(length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => below(256)));
}

/** Text that repeats itself more or less. */
function someData(): Buffer {
  const parts = Array.from({ length: 1 + below(4) }, () =>
    random() < 0.5 ? Buffer.alloc(below(300), someBytes(1 + below(9))) : someBytes(below(40)),
  );
  return Buffer.concat(parts);
}

/** Changes, drops or adds a few bytes. */
function damage(bytes: Buffer): Buffer {
  let out = Buffer.from(bytes);
  for (let count = below(4); count > 0 && out.length > 0; count--) {
    const at = below(out.length);
    if (random() < 0.6) out[at] = below(256);
    else if (random() < 0.5) out = out.subarray(0, at);
    else out = Buffer.concat([out.subarray(0, at), someBytes(below(6)), out.subarray(at)]);
  }
  return out;
}

/** Runs what may fail with a typed error only. */
function tolerant<T>(decode: () => T): T | undefined {
  try {
    return decode();
  } catch (err) {
    if (err instanceof TunnelError) return undefined;
    throw err;
  }
}

function compress(data: Buffer): Buffer {
  const output = Buffer.alloc(maxCompressedBytes(data.length));
  return output.subarray(0, compressBlock(data, output, 0));
}

test('blocks come back, and damaged ones stay within their bound', async () => {
  await fuzz('snappy block', () => {
    const data = someData();
    const block = compress(data);
    assert.ok(decompressBlock(block).equals(data));
    const wire = random() < 0.9 ? damage(block) : someBytes(below(60));
    const found = tolerant(() => decompressBlock(wire));
    assert.ok((found?.length ?? 0) <= MAX_BLOCK_BYTES);
  });
});

test('framed streams decode alike in any split, and damage is found', async () => {
  await fuzz('snappy framing', () => {
    const data = someData();
    const encoder = new SnappyEncoder();
    const wire = Buffer.concat([...encoder.encode(data), ...encoder.encode(data)]);
    const sent = random() < 0.3 ? wire : damage(wire);
    const decoder = new SnappyDecoder();
    const out: Buffer[] = [];
    const isWhole = tolerant(() => {
      for (let at = 0; at < sent.length;) {
        const end = Math.min(sent.length, at + 1 + below(200));
        decoder.push(sent.subarray(at, end));
        at = end;
        for (let next = decoder.next(); next !== undefined; next = decoder.next()) {
          assert.ok(next.length > 0 && next.length <= MAX_BLOCK_BYTES);
          out.push(Buffer.from(next));
        }
      }
      return decoder.isIdle;
    });
    const got = Buffer.concat(out);
    if (sent.equals(wire)) assert.ok(isWhole === true && got.equals(Buffer.concat([data, data])));
    // Whatever was let through carries its checksum, so it is a beginning of what was sent.
    else
      assert.ok(
        (got.length <= 2 * data.length && got.equals(Buffer.concat([data, data]).subarray(0, got.length))) ||
          got.equals(data),
      );
  });
});

const HOSTS = [
  '127.0.0.1',
  '192.0.2.255',
  '::1',
  '2001:db8::1',
  '::ffff:192.0.2.1',
  'fe80::1%eth0',
  '64:ff9b::192.0.2.33',
  '',
  'unix',
  '1.2.3',
];

test('PROXY headers come back, and damaged ones are refused or read within their bounds', async () => {
  await fuzz('PROXY protocol', () => {
    const version = pick(['v1', 'v2'] as const);
    const header = tolerant(() =>
      encodeProxyHeader(version, {
        transport: pick(['tcp', 'udp'] as const),
        sourceAddr: pick(HOSTS),
        sourcePort: below(65_536),
        destinationAddr: pick(HOSTS),
        destinationPort: below(65_536),
      }),
    );
    if (header === undefined) return;
    const payload = someBytes(below(20));
    const whole = Buffer.concat([header, payload]);
    const found = decodeProxyHeader(whole);
    assert.equal(found?.length, header.length);
    assert.equal(decodeProxyHeader(whole.subarray(0, below(header.length))), undefined);
    const wire = damage(whole);
    const read = tolerant(() => decodeProxyHeader(wire));
    if (read === undefined) return;
    assert.ok(read.length <= wire.length && read.length <= 16 + 4096);
    if (read.addresses === undefined) return;
    // What was read can be written again, and means the same.
    const again = encodeProxyHeader('v2', read.addresses);
    assert.ok((decodeProxyHeader(again)?.addresses?.sourcePort ?? -1) === read.addresses.sourcePort);
  });
});
