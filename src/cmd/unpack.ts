/**
 * Loads a subcommand that the build packed into the executable as data: V8 need not even scan the others' code.
 * The build replaces main.ts's dynamic imports with calls of this (see build.mjs).
 */
import { createRequire } from 'node:module';
import { compileFunction } from 'node:vm';
import { brotliDecompressSync } from 'node:zlib';

/** What a packed module exports. */
export interface PackedModule {
  run(argv: readonly string[], programName: string): Promise<void>;
}

/** What Node gives a CommonJS module; libraries such as sql.js look for all of it. */
const PARAMETERS = ['exports', 'require', 'module', '__filename', '__dirname'];

/** Compiles and runs a packed CommonJS module; `name` stands for it in stack traces. */
export function unpack(name: string, packed: string): PackedModule {
  const code = brotliDecompressSync(Buffer.from(packed, 'base64')).toString();
  const start = compileFunction(code, PARAMETERS, { filename: `edge:${name}` }) as (
    ...values: unknown[]
  ) => void;
  const module = { exports: {} };
  start(module.exports, createRequire(__filename), module, __filename, __dirname);
  return module.exports as PackedModule;
}
