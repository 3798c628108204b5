// Runs tests: `node scripts/test.mjs [unit|integration|interop|netns|fuzz]… [part of a path]…`.
// Without a tier all run. Ends with `N passed, N failed, N skipped`; fails on a failed test and on a tier without files.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from './test/bundle.mjs';

const root = join(import.meta.dirname, '..');

/**
 * Where each tier's files are and how they run. `concurrency` counts files at once; a file that takes longer than
 * `timeoutMs` is stuck. `fuzzMs` is the time budget a fuzz file gets (FUZZ_MS overrides it).
 */
const TIERS = {
  unit: { dirs: ['src', 'test/support', 'scripts'], suffix: '.test.ts', timeoutMs: 120_000 },
  integration: {
    dirs: ['test/integration'],
    suffix: '.test.ts',
    concurrency: 2,
    timeoutMs: 600_000, // seven releases of kubectl, one after the other, take two minutes on two cores
    needsProgram: true,
  },
  fuzz: { dirs: ['test/fuzz'], suffix: '.fuzz.ts', concurrency: 2, timeoutMs: 300_000 },
  interop: {
    dirs: ['test/interop'],
    suffix: '.test.ts',
    concurrency: 2,
    timeoutMs: 300_000,
    needsProgram: true,
  },
  // Several hosts with several processes each, which mostly wait for links and timeouts.
  netns: {
    dirs: ['test/netns'],
    suffix: '.test.ts',
    concurrency: 2,
    timeoutMs: 600_000,
    needsProgram: true,
  },
};
/** A fuzz target runs this long in a full run, and ten times as long when fuzzing is asked for by name. */
const BRIEF_FUZZ_MS = 1000;

function listFiles(tier) {
  return tier.dirs
    .filter((dir) => existsSync(join(root, dir)))
    .flatMap((dir) => readdirSync(join(root, dir), { recursive: true }).map((name) => join(dir, name)))
    .filter((path) => path.endsWith(tier.suffix))
    .sort();
}

/** Runs a program and resolves with its exit status; passes Ctrl-C and SIGTERM on. */
function run(args, env = process.env) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { cwd: root, env, stdio: ['ignore', 'inherit', 'inherit'] });
    const pass = (signal) => child.kill(signal);
    process.on('SIGINT', pass).on('SIGTERM', pass);
    child.on('error', reject);
    child.on('exit', (code) => {
      process.off('SIGINT', pass).off('SIGTERM', pass);
      resolve(code ?? 1);
    });
  });
}

async function runTier(name, tier, files, fuzzMs, outdir) {
  const bundles = await bundle(files, outdir);
  const countFile = join(outdir, 'counts.json');
  const args = [
    '--enable-source-maps',
    '--test',
    `--test-timeout=${tier.timeoutMs}`,
    ...(tier.concurrency === undefined ? [] : [`--test-concurrency=${tier.concurrency}`]),
    '--test-reporter=spec',
    '--test-reporter-destination=stdout',
    `--test-reporter=${join(root, 'scripts/test/count-reporter.mjs')}`,
    `--test-reporter-destination=${countFile}`,
    ...bundles,
  ];
  console.log(`\n${name}: ${files.length} files`);
  const status = await run(args, { ...process.env, FUZZ_MS: process.env.FUZZ_MS ?? String(fuzzMs) });
  const counts = existsSync(countFile)
    ? JSON.parse(readFileSync(countFile, 'utf8'))
    : { passed: 0, failed: 0, skipped: 0, failures: [] };
  if (status !== 0 && counts.failed === 0) counts.failed = 1; // the runner itself broke
  return counts;
}

async function main(args) {
  const named = Object.keys(TIERS).filter((name) => args.includes(name));
  const filters = args.filter((arg) => !(arg in TIERS));
  const chosen = named.length > 0 ? named : Object.keys(TIERS);
  const plan = chosen.map((name) => {
    const files = listFiles(TIERS[name]).filter((path) => filters.every((part) => path.includes(part)));
    return { name, tier: TIERS[name], files };
  });
  const empty = plan.filter(({ files }) => files.length === 0);
  if (empty.length === plan.length || (filters.length === 0 && empty.length > 0)) {
    const why = filters.length === 0 ? '' : ` whose path contains ${filters.join(' and ')}`;
    console.error(`error: no test files${why} in ${empty.map(({ name }) => name).join(', ')}`);
    return 1;
  }
  if (plan.some(({ tier, files }) => tier.needsProgram === true && files.length > 0)) {
    if ((await run(['build.mjs'])) !== 0) return 1;
  }
  // A folder of its own, so that two runs in one checkout do not take each other's files away.
  const outdir = join(root, 'build/tests', String(process.pid));
  mkdirSync(outdir, { recursive: true });
  const total = { passed: 0, failed: 0, skipped: 0 };
  const failures = [];
  try {
    for (const { name, tier, files } of plan) {
      if (files.length === 0) continue;
      const fuzzMs = named.includes('fuzz') ? BRIEF_FUZZ_MS * 10 : BRIEF_FUZZ_MS;
      const counts = await runTier(name, tier, files, fuzzMs, join(outdir, name));
      if (counts.passed + counts.failed + counts.skipped === 0) {
        console.error(`error: ${name}: the files hold no tests`);
        counts.failed = 1;
      }
      for (const key of Object.keys(total)) total[key] += counts[key];
      failures.push(...counts.failures.map((failure) => ({ tier: name, ...failure })));
    }
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
  // Once more at the end: whoever sees only the last lines of a long run still learns why it failed.
  for (const { tier, name, text } of failures) console.log(`\nfailed: ${tier}: ${name}\n${text}`);
  console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.failed === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
