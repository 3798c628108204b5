// Builds dist/edge: one executable CommonJS bundle with everything in it. Each subcommand is a bundle of its own that
// the executable carries compressed, so that starting one does not cost the parsing of the others.
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';
import { build } from 'esbuild';

const root = import.meta.dirname;
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

function commit() {
  try {
    return execFileSync('git', ['rev-parse', '--short=10', 'HEAD'], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'ignore'],
    })
      .toString()
      .trim();
  } catch {
    return 'unknown'; // built from a source archive
  }
}

/** ssh2 tries to load native addons and does without where that fails; a single file has none. */
const leaveOutAddons = {
  name: 'leave-out-addons',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^cpu-features$|\.node$/ }, ({ path }) => ({ path, namespace: 'addon' }));
    onLoad({ filter: /.*/, namespace: 'addon' }, ({ path }) => ({
      contents: `throw new Error(${JSON.stringify(`${path} is not in this file`)});`,
    }));
  },
};

const common = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'cjs',
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'none',
  define: {
    EDGE_VERSION: JSON.stringify(version),
    EDGE_COMMIT: JSON.stringify(commit()),
    // ws looks for native addons otherwise, which a single file has not
    'process.env.WS_NO_BUFFER_UTIL': '"1"',
    'process.env.WS_NO_UTF_8_VALIDATE': '"1"',
  },
  loader: { '.wasm': 'binary', '.html': 'text', '.sql': 'text' },
  logLevel: 'warning',
  plugins: [leaveOutAddons],
};

/** Compresses a subcommand's bundle into a module that unpacks it when it is imported. */
const packSubcommands = {
  name: 'pack-subcommands',
  setup({ onLoad, onResolve }) {
    const main = join(root, 'src/cmd/main.ts');
    onResolve({ filter: /^\.\// }, ({ kind, importer, path }) =>
      kind === 'dynamic-import' && importer === main
        ? { path: join(dirname(main), path), namespace: 'packed' }
        : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'packed' }, async ({ path }) => {
      const { outputFiles } = await build({ ...common, entryPoints: [path], write: false });
      const [{ contents }] = outputFiles;
      const packed = brotliCompressSync(contents, {
        params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: contents.length },
      });
      const name = path.slice(join(root, 'src/cmd/').length).replace(/(?:\/main)?\.ts$/u, '');
      return {
        resolveDir: join(root, 'src/cmd'),
        contents: `import { unpack } from './unpack.ts';
export const { run } = unpack(${JSON.stringify(name)}, ${JSON.stringify(packed.toString('base64'))});`,
      };
    });
  },
};

mkdirSync(join(root, 'dist'), { recursive: true });
const temporary = join(root, `dist/.edge.${process.pid}`);
await build({
  ...common,
  entryPoints: [join(root, 'src/cmd/main.ts')],
  outfile: temporary,
  banner: { js: '#!/usr/bin/env node' },
  plugins: [packSubcommands, leaveOutAddons],
});
chmodSync(temporary, 0o755);
renameSync(temporary, join(root, 'dist/edge')); // whole or not at all, also while an old copy runs
