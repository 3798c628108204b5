// Holds dist/edge to its size, start time and memory, and checks that it stands alone. Needs `npm run build` first.
// Processor time and memory are what the bundle adds to a bare Node, so that a busy machine passes too.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';

const edge = join(import.meta.dirname, '../dist/edge');

/** Chosen from what was measured when it was written, with room to grow by about half. */
const LIMITS = { sizeMiB: 3, startMs: 150, memoryMiB: 20, textMiB: 1 };
const ROUNDS = 9;

/**
 * Prints processor time (µs), peak memory (KiB), and what is left of large objects, such as the text of the file (bytes), when
 * the process ends; a preload that leaves the loader as it is.
 */
const REPORTER = `process.on('exit', () => {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage();
  gc();
  gc({ type: 'major', execution: 'sync', flavor: 'last-resort' }); // from Node 22 on only this one lets go of unused code
  const spaces = require('node:v8').getHeapSpaceStatistics();
  const { space_used_size } = spaces.find(({ space_name }) => space_name === 'large_object_space');
  console.error('used', userCPUTime + systemCPUTime, maxRSS, space_used_size);
});`;

function measure(args, cwd) {
  const runs = Array.from({ length: ROUNDS }, () => {
    const options = { cwd, encoding: 'utf8' };
    const { status, stderr } = spawnSync(
      process.execPath,
      ['--expose-gc', '-r', './reporter.cjs', ...args],
      options,
    );
    if (status !== 0) throw new Error(`node ${args.join(' ')}: status ${status}\n${stderr}`);
    const [, us, kib, bytes] = /^used (\d+) (\d+) (\d+)$/mu.exec(stderr) ?? [];
    return { ms: Number(us) / 1000, mib: Number(kib) / 1024, text: Number(bytes) / 1024 / 1024 };
  });
  const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
  const [ms, mib, text] = ['ms', 'mib', 'text'].map((what) => median(runs.map((run) => run[what])));
  return { ms, mib, text };
}

/** The program and its parts, as the executable `text` carries them. */
function packs(text) {
  const places = JSON.parse(/^const EDGE_PACKS=(.*);$/mu.exec(text)[1]);
  return Object.entries(places)
    .filter(([name]) => !name.endsWith('.wasm'))
    .map(([, [fromEnd, length]]) => {
      const start = text.length - fromEnd;
      return brotliDecompressSync(Buffer.from(text.slice(start, start + length), 'base64')).toString();
    });
}

/** Packages that the program would look for in node_modules. */
function foreignRequires(sources) {
  const names = sources.flatMap((source) =>
    [...source.matchAll(/(?<!['`])\brequire\("([^"]+)"\)/gu)].map((match) => match[1]),
  );
  return [...new Set(names)].filter((name) => !name.startsWith('node:') && !builtinModules.includes(name));
}

/** Compares a figure with its limit and prints both; true when it is kept. */
function isKept(what, value, limit, unit) {
  const isGood = value <= limit;
  console.log(`bundle: ${what} ${value.toFixed(1)} ${unit}, limit ${limit}${isGood ? '' : '  <-- too much'}`);
  return isGood;
}

function main() {
  const foreign = foreignRequires(packs(readFileSync(edge, 'latin1')));
  if (foreign.length > 0) console.error(`bundle: needs ${foreign.join(', ')} from node_modules`);
  const dir = mkdtempSync(join(tmpdir(), 'edge-bundle-')); // far from any package.json and node_modules
  try {
    copyFileSync(edge, join(dir, 'edge'));
    writeFileSync(join(dir, 'reporter.cjs'), REPORTER);
    const bare = measure(['-e', '0'], dir);
    const results = [isKept('size', statSync(edge).size / 1024 / 1024, LIMITS.sizeMiB, 'MiB')];
    for (const args of [['--version'], ['ctl', '--help']]) {
      const used = measure([join(dir, 'edge'), ...args], dir);
      const name = `edge ${args.join(' ')}`;
      results.push(isKept(`${name}: start`, used.ms - bare.ms, LIMITS.startMs, 'ms CPU more than node'));
      results.push(isKept(`${name}: memory`, used.mib - bare.mib, LIMITS.memoryMiB, 'MiB more than node'));
      results.push(
        isKept(`${name}: texts kept`, used.text - bare.text, LIMITS.textMiB, 'MiB more than node'),
      );
    }
    process.exitCode = results.every(Boolean) && foreign.length === 0 ? 0 : 1;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

main();
