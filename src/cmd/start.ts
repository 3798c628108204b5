/**
 * What Node reads of the executable: it loads the program from the packs and is done. The text of the whole file, packs
 * included, is in memory as long as anything that was compiled from it lives, so nothing of this may stay reachable: the
 * program gets values and Node's own functions, and no function from here.
 */
import { openSync } from 'node:fs';
import { compileFunction } from 'node:vm';
import { readPack } from './pack-file.ts';
import type { PackFile } from './pack-file.ts';

/** Put before this by the build. */
declare const EDGE_PACKS: PackFile['places'];

const file: PackFile = { path: __filename, fd: openSync(__filename, 'r'), places: EDGE_PACKS };
const parameters = ['exports', 'require', 'module', '__filename', '__dirname', 'edgeFile'];
const program = compileFunction(readPack(file, 'main'), parameters, { filename: 'edge:main' });
program(exports, require, module, __filename, __dirname, file);
