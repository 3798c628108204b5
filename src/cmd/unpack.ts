/**
 * Loads a part of the program that the build packed into the end of the executable: starting one part costs no
 * reading of the others. The build replaces the dynamic imports of main.ts and ctl/main.ts with calls of this
 * (see build.mjs).
 */
import { createRequire } from 'node:module';
import { compileFunction } from 'node:vm';
import { brotliDecompressSync } from 'node:zlib';
import { readPack, readPacked } from './pack-file.ts';
import type { PackFile } from './pack-file.ts';

/** The executable; given to the program by start.ts. */
declare const edgeFile: PackFile;

/** What a packed module exports. */
export interface PackedModule {
  run(argv: readonly string[], programName: string): Promise<void>;
}

/** What Node gives a CommonJS module (libraries such as sql.js look for all of it), and the ways to further packs. */
const PARAMETERS = ['exports', 'require', 'module', '__filename', '__dirname', 'edgeUnpack', 'edgeAsset'];

const unpacked = new Map<string, PackedModule>();

/**
 * Reads a packed file that is no program, compressed: by the time it is used, the executable may have been overwritten. What it
 * returns unpacks it, anew each time, and the memory is the caller's.
 */
function readAsset(name: string): () => Buffer<ArrayBuffer> {
  const packed = readPacked(edgeFile, name);
  return () => brotliDecompressSync(packed);
}

/** Compiles and runs a packed CommonJS module, once; `name` stands for it in stack traces. */
export function unpack(name: string): PackedModule {
  const known = unpacked.get(name);
  if (known !== undefined) return known;
  const start = compileFunction(readPack(edgeFile, name), PARAMETERS, { filename: `edge:${name}` }) as (
    ...values: unknown[]
  ) => void;
  const module = { exports: {} };
  start(module.exports, createRequire(__filename), module, __filename, __dirname, unpack, readAsset);
  const exports = module.exports as PackedModule;
  unpacked.set(name, exports);
  return exports;
}
