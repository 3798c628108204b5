// `node bench/seal.mjs`: bundles seal.ts for the Node that runs it, and runs it.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { bundle } from '../scripts/test/bundle.mjs';

const root = join(import.meta.dirname, '..');
const [file] = await bundle(['bench/seal.ts'], join(root, 'build/bench'));
process.exitCode = spawnSync(process.execPath, [join(root, file)], { stdio: 'inherit' }).status ?? 1;
