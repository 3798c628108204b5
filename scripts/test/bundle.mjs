// Bundles TypeScript test and bench files for the Node that runs them: Node 20 cannot strip types by itself.
import { join, relative } from 'node:path';
import { build } from 'esbuild';
import { pageBundle } from '../page-bundle.mjs';
import { wasmImport } from '../wasm-import.mjs';

const root = join(import.meta.dirname, '../..');

/**
 * Bundles each entry (paths relative to the repository) into its own CommonJS file under `outdir`, packages left
 * external, and returns the outputs in the order of the entries.
 */
export async function bundle(entries, outdir) {
  await build({
    absWorkingDir: root,
    entryPoints: entries,
    outbase: root,
    outdir,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    packages: 'external',
    sourcemap: true,
    outExtension: { '.js': '.cjs' },
    loader: { '.html': 'text', '.sql': 'text' },
    plugins: [
      pageBundle,
      wasmImport((path) => `() => require('node:fs').readFileSync(${JSON.stringify(path)})`),
    ],
    logLevel: 'warning',
  });
  return entries.map((entry) => join(relative(root, outdir), entry.replace(/\.ts$/u, '.cjs')));
}
