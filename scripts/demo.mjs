// `npm run demo`: two nodes, a service on one, its name and address on the other, as separate processes on loopback.
// Stays up until Ctrl-C; `--check` verifies it instead and exits with 0 or 1.
import { listChecks } from './demo/checks.mjs';
import { hints } from './demo/hints.mjs';
import { Processes } from './demo/processes.mjs';
import { green, red, seconds } from './demo/screen.mjs';
import { startDemo } from './demo/start.mjs';

/** Runs every check, also after one has failed; resolves with whether all passed. */
async function runChecks(demo) {
  const counts = { passed: 0, failed: 0 };
  console.log('');
  for (const { title, run } of listChecks(demo)) {
    const startedAt = performance.now();
    try {
      const note = await run();
      counts.passed++;
      console.log(`${green('✓')} ${title}: ${note}  ${seconds(startedAt)}`);
    } catch (err) {
      counts.failed++;
      console.log(`${red('✗')} ${title}: ${err.message}  ${seconds(startedAt)}`);
    }
  }
  if (counts.failed > 0) console.log(['', ...demo.processes.complaints()].join('\n'));
  console.log(`\ndemo: ${counts.passed} passed, ${counts.failed} failed`);
  return counts.failed === 0;
}

async function main(args) {
  const unknown = args.find((arg) => arg !== '--check');
  if (unknown !== undefined) {
    console.error(`error: unknown argument ${unknown}; usage: npm run demo [-- --check]`);
    return 2;
  }
  const cleanups = [];
  let interrupt;
  const interrupted = new Promise((resolve) => {
    interrupt = resolve;
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => interrupt('signal'));
  const processes = new Processes((dead) => interrupt(dead));
  const work = async () => {
    const demo = await startDemo(processes, cleanups);
    if (args.includes('--check')) return (await runChecks(demo)) ? 0 : 1;
    for (const line of hints(demo)) console.log(line);
    return new Promise(() => {}); // until Ctrl-C, or until a process dies
  };
  try {
    const outcome = await Promise.race([work(), interrupted]);
    if (typeof outcome === 'number') return outcome;
    if (outcome === 'signal') return args.includes('--check') ? 1 : 0;
    console.error(`\n${red('✗')} ${outcome.name} ended by itself\n${processes.tail(outcome)}`);
    return 1;
  } catch (err) {
    console.error(`\n${err.message}`);
    return 1;
  } finally {
    await processes.stop();
    await Promise.all(cleanups.map((undo) => undo()));
  }
}

process.exit(await main(process.argv.slice(2)));
