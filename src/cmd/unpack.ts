/**
 * Loads a part of the program that the build packed into the end of the executable: starting one part costs no
 * reading of the others. The build replaces the dynamic imports of main.ts and ctl/main.ts with calls of this
 * (see build.mjs).
 */
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
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

function readPack(name: string): string {
  const [fromEnd, length] = EDGE_PACKS[name] ?? [0, 0];
  const packed = Buffer.allocUnsafe(length);
  const file = openSync(__filename, 'r');
  try {
    readSync(file, packed, 0, length, fstatSync(file).size - fromEnd);
    return brotliDecompressSync(Buffer.from(packed.toString('latin1'), 'base64')).toString();
  } catch (err) {
    // another build was put in its place since Node read this one
    throw new Error(`${__filename} was replaced while it started: start it again`, { cause: err });
  } finally {
    closeSync(file);
  }
}

/** Compiles and runs a packed CommonJS module; `name` stands for it in stack traces. */
export function unpack(name: string): PackedModule {
  const start = compileFunction(readPack(name), PARAMETERS, { filename: `edge:${name}` }) as (
    ...values: unknown[]
  ) => void;
  const module = { exports: {} };
  start(module.exports, createRequire(__filename), module, __filename, __dirname, unpack);
  return module.exports as PackedModule;
}
