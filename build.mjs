// Builds dist/edge: one executable CommonJS bundle with everything in it, and its symlinks' targets stay the same file.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = import.meta.dirname;
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

function commit() {
  try {
    return execFileSync('git', ['rev-parse', '--short=10', 'HEAD'], { cwd: root, stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim();
  } catch {
    return 'unknown'; // built from a source archive
  }
}

mkdirSync(join(root, 'dist'), { recursive: true });
const temporary = join(root, `dist/.edge.${process.pid}`);
await build({
  entryPoints: [join(root, 'src/cmd/main.ts')],
  outfile: temporary,
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  banner: { js: '#!/usr/bin/env node' },
  define: { EDGE_VERSION: JSON.stringify(version), EDGE_COMMIT: JSON.stringify(commit()) },
  loader: { '.wasm': 'binary', '.html': 'text', '.sql': 'text' },
  logLevel: 'warning',
});
chmodSync(temporary, 0o755);
renameSync(temporary, join(root, 'dist/edge')); // whole or not at all, also while an old copy runs
