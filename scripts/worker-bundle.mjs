// An esbuild plugin: `NAME-worker.bundle.js` is the text of a program for a worker thread, NAME-worker.ts beside it with all
// that it imports, for the program that starts it. Only the SQLite of sql.js comes compiled with `workerData`.
import { join } from 'node:path';
import { build } from 'esbuild';

/** What the bundled program has instead of the WebAssembly; a module of its kind, or esbuild copies byte for byte. */
const SHARED_WASM = `import { workerData } from 'node:worker_threads'; export default workerData.wasm;`;

const sharedWasm = {
  name: 'shared-wasm',
  setup({ onLoad }) {
    onLoad({ filter: /\/sql-wasm\.wasm$/ }, () => ({ contents: SHARED_WASM, loader: 'js' }));
  },
};

export const workerBundle = {
  name: 'worker-bundle',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /-worker\.bundle\.js$/ }, ({ path, resolveDir }) => ({
      path: join(resolveDir, path),
      namespace: 'worker-bundle',
    }));
    onLoad({ filter: /.*/, namespace: 'worker-bundle' }, async ({ path }) => {
      const { outputFiles } = await build({
        entryPoints: [path.replace(/\.bundle\.js$/u, '.ts')],
        bundle: true,
        platform: 'node',
        target: 'node20',
        format: 'cjs',
        minifySyntax: true,
        minifyWhitespace: true,
        legalComments: 'none',
        loader: { '.sql': 'text' },
        plugins: [sharedWasm],
        write: false,
        logLevel: 'warning',
      });
      return { contents: outputFiles[0].text, loader: 'text' };
    });
  },
};
