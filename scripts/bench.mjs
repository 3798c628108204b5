// `npm run bench`: builds, measures, prints a table with ratios, the commit and the machine.
import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { throughput } from '../bench/throughput.mjs';
import { hasProgram } from './demo/services.mjs';

const root = join(import.meta.dirname, '..');

if (!hasProgram('haproxy')) throw new Error('missing program: haproxy, the reference of the benchmark');
execFileSync(process.execPath, [join(root, 'build.mjs')], { stdio: 'inherit' });
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1)); // ends the processes on the way
const lines = await throughput();
const commit = execFileSync('git', ['rev-parse', '--short=10', 'HEAD'], {
  cwd: root,
  encoding: 'utf8',
}).trim();
const haproxy = execFileSync('haproxy', ['-v'], { encoding: 'utf8' }).split(' ')[2];
console.log(
  `\nbulk throughput, app ← sidecar ← router ← sidecar ← service; ratios to three chained HAProxy TCP hops\n`,
);
for (const line of lines) console.log(line);
console.log(
  `\ncommit ${commit}, Node ${process.version}, HAProxy ${haproxy}, ${cpus().length} × ${cpus()[0]?.model.trim()}`,
);
