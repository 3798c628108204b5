/**
 * Loads a part of the program that the build packed into the end of the executable: starting one part costs no
 * reading of the others. The build replaces the dynamic imports of main.ts and ctl/main.ts with calls of this
 * (see build.mjs).
 */
import { fstatSync, openSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { compileFunction } from 'node:vm';
import { brotliDecompressSync } from 'node:zlib';

/** Where each pack stands: its distance from the end of the file, and its length. Put before the program by the build. */
declare const EDGE_PACKS: Readonly<Record<string, readonly [fromEnd: number, length: number]>>;

/** What a packed module exports. */
export interface PackedModule {
  run(argv: readonly string[], programName: string): Promise<void>;
}

/** What Node gives a CommonJS module (libraries such as sql.js look for all of it), and the way to further packs. */
const PARAMETERS = ['exports', 'require', 'module', '__filename', '__dirname', 'edgeUnpack'];

/** The executable; stays open, so that what is unpacked later comes from it also when another was put in its place. */
let file: number | undefined;
const unpacked = new Map<string, PackedModule>();

function readPack(name: string): string {
  const [fromEnd, length] = EDGE_PACKS[name] ?? [0, 0];
  const packed = Buffer.allocUnsafe(length);
  try {
    file ??= openSync(__filename, 'r');
    readSync(file, packed, 0, length, fstatSync(file).size - fromEnd);
    return brotliDecompressSync(Buffer.from(packed.toString('latin1'), 'base64')).toString();
  } catch (err) {
    // another build was put in its place since Node read this one
    throw new Error(`${__filename} was replaced while it started: start it again`, { cause: err });
  }
}

/** Compiles and runs a packed CommonJS module, once; `name` stands for it in stack traces. */
export function unpack(name: string): PackedModule {
  const known = unpacked.get(name);
  if (known !== undefined) return known;
  const start = compileFunction(readPack(name), PARAMETERS, { filename: `edge:${name}` }) as (
    ...values: unknown[]
  ) => void;
  const module = { exports: {} };
  start(module.exports, createRequire(__filename), module, __filename, __dirname, unpack);
  const exports = module.exports as PackedModule;
  unpacked.set(name, exports);
  return exports;
}
