/** The recorded seeds of the fuzz targets (test/fuzz/corpus), and ways to change them. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { below, pick, random } from './fuzz.ts';

/** One recorded file. */
export interface Seed {
  name: string;
  bytes: Buffer;
}

/** All seeds of a folder; throws when there is none. */
export function readCorpus(folder: string): Seed[] {
  const dir = join(process.cwd(), 'test/fuzz/corpus', folder);
  const seeds = readdirSync(dir)
    .sort()
    .map((name) => ({ name, bytes: readFileSync(join(dir, name)) }));
  if (seeds.length === 0) throw new Error(`${dir} holds no seeds`);
  return seeds;
}

const NUMBERS = [0, 1, 0x7f, 0x80, 0xff];

/** A copy with a few bits, bytes or stretches changed, left out, said twice, or taken from another seed. */
export function mutated(bytes: Buffer, others: readonly Seed[]): Buffer {
  let out = Buffer.from(bytes);
  for (let count = 1 + below(4); count > 0 && out.length > 0; count--) {
    const at = below(out.length);
    const length = below(Math.min(out.length - at, pick([2, 16, 300])) + 1);
    const rest = out.subarray(at + length);
    switch (below(7)) {
      case 0:
        out[at] = (out[at] ?? 0) ^ (1 << below(8));
        break;
      case 1:
        out[at] = random() < 0.5 ? pick(NUMBERS) : below(256);
        break;
      case 2:
        out = Buffer.concat([out.subarray(0, at), rest]);
        break;
      case 3:
        out = Buffer.concat([out.subarray(0, at + length), out.subarray(at, at + length), rest]);
        break;
      case 4: {
        const other = pick(others).bytes;
        const from = below(other.length);
        out = Buffer.concat([out.subarray(0, at), other.subarray(from, from + below(100)), rest]);
        break;
      }
      case 5:
        if (at + 4 <= out.length)
          out.writeUInt32BE(pick([0, 1, 65_536, 262_145, 0x7fffffff, 0xffffffff]), at);
        break;
      default:
        if (random() < 0.3) out = out.subarray(0, at);
    }
  }
  return out;
}

/** Cuts bytes into pieces of random sizes and hands them on. */
export function inPieces(bytes: Buffer, largest: number, use: (piece: Buffer) => void): void {
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + 1 + below(largest));
    use(bytes.subarray(at, end));
    at = end;
  }
}
