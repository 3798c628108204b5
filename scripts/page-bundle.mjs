// An esbuild plugin: `page.bundle.js` and `page.bundle.css` are the texts of the browser's program beside them, app.ts
// with all that it imports, for the Node program that serves them.
import { dirname, join } from 'node:path';
import { build } from 'esbuild';

const made = new Map(); // by folder: one build gives both texts

/** Bundles app.ts of a folder for browsers. */
async function bundleFor(dir) {
  const { outputFiles } = await build({
    entryPoints: [join(dir, 'app.ts')],
    bundle: true,
    platform: 'browser',
    target: ['chrome111', 'firefox111', 'safari16'],
    format: 'iife',
    minify: true,
    legalComments: 'none',
    outdir: dir, // nothing is written there
    write: false,
    logLevel: 'warning',
  });
  const textOf = (suffix) => outputFiles.find(({ path }) => path.endsWith(suffix))?.text ?? '';
  return { js: textOf('.js'), css: textOf('.css') };
}

export const pageBundle = {
  name: 'page-bundle',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /\/page\.bundle\.(?:js|css)$/ }, ({ path, resolveDir }) => ({
      path: join(resolveDir, path),
      namespace: 'page-bundle',
    }));
    onLoad({ filter: /.*/, namespace: 'page-bundle' }, async ({ path }) => {
      const dir = dirname(path);
      if (!made.has(dir)) made.set(dir, bundleFor(dir));
      const { js, css } = await made.get(dir);
      return { contents: path.endsWith('.css') ? css : js, loader: 'text' };
    });
  },
};
