// Checks that imports in src point downward only and that each package stays behind its one wrapper.
// Reads source lines, since bundlers forget `import type`. Prints file, import and rule; fails on an empty list of files.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { problemsOf } from './import-rules.mjs';

const root = join(import.meta.dirname, '..');

function main() {
  const files = readdirSync(join(root, 'src'), { recursive: true })
    .map((name) => `src/${name}`)
    .filter((path) => path.endsWith('.ts'))
    .sort();
  if (files.length === 0) throw new Error('no source files under src');
  const problems = files.flatMap((path) => problemsOf(path, readFileSync(join(root, path), 'utf8')));
  for (const problem of problems) console.error(problem);
  console.log(`imports: ${files.length} files, ${problems.length} problems`);
  process.exitCode = problems.length === 0 ? 0 : 1;
}

main();
