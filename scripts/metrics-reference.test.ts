/** The reference of metrics names all that the program has and nothing else, and the alerts use what there is. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const read = (path: string): string => readFileSync(path, 'utf8');
const namesIn = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map(([, name]) => name ?? '');

const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))
  .map((path) => read(join('src', path)))
  .join('\n');
const inProgram = new Set(namesIn(sources, /'((?:edge|frp_server)_(?!ip_address)[a-z_]+)'/gu));

test('the reference names every metric, and no other', () => {
  assert.ok(inProgram.size > 60, `${inProgram.size} found`);
  const inReference = new Set(
    namesIn(read('docs/reference/metrics.md'), /`((?:edge|frp_server)_[a-z_]+)(?:\{[a-z,]+\})?`/gu),
  );
  assert.deepEqual([...inReference].sort(), [...inProgram].sort());
});

test('the alerts ask for metrics that exist', () => {
  const names = namesIn(
    read('deploy/prometheus/alerts.yaml'),
    /\b(edge_[a-z_]+?)(?:_bucket)?\b(?=[\s){[])/gu,
  );
  assert.ok(names.length >= 10);
  for (const name of names) assert.ok(inProgram.has(name), name);
});
