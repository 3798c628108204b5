// Builds dist/edge: one executable CommonJS file with everything in it. The program, each subcommand, and each verb of ctl
// that needs much more than the others, is a bundle of its own, a pack, and so is each large file that is needed seldom or
// once. The executable carries the packs compressed in a comment at its end, which V8 only skips, so that starting one does
// not cost reading the others; what comes before the comment only loads the program (src/cmd/start.ts).
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { brotliCompressSync, constants } from 'node:zlib';
import { build } from 'esbuild';
import { pageBundle } from './scripts/page-bundle.mjs';
import { wasmImport } from './scripts/wasm-import.mjs';

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
  loader: { '.html': 'text', '.sql': 'text' },
  logLevel: 'warning',
};

/** The modules whose dynamic imports may become packs: the program's and the operator's command line. */
const SWITCHES = new Set([join(root, 'src/cmd/main.ts'), join(root, 'src/cmd/ctl/main.ts')]);
/** A verb of ctl that needs one of these is a pack of its own: the other verbs must not pay for it at their start. */
const HEAVY = /^(?:src\/(?:tunnel|ssh|sidecar|router)\/|node_modules\/ssh2\/)/u;

/** What every pack holds, by its name: base64 of the compressed bundle or file. */
const packs = {};

/** Adds a pack. */
function addPack(name, contents) {
  packs[name] = brotliCompressSync(contents, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: contents.length },
  }).toString('base64');
}

/** The modules that use the yaml package. */
const YAML_USERS = new Set(['src/lib/yaml.ts', 'src/lib/yaml-edit.ts'].map((path) => join(root, path)));

/** Leaves the loading of the yaml package to its first use; `load` is how. Most runs of ctl never get there. */
const deferYaml = (load) => ({
  name: 'defer-yaml',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^yaml$/ }, ({ kind, importer }) =>
      kind === 'import-statement' && YAML_USERS.has(importer)
        ? { path: 'yaml', namespace: 'deferred' }
        : undefined,
    );
    onLoad({ filter: /^yaml$/, namespace: 'deferred' }, () => ({
      resolveDir: root,
      contents: `const yaml = () => ${load};
export const parseAllDocuments = (...args) => yaml().parseAllDocuments(...args);
export const parseDocument = (...args) => yaml().parseDocument(...args);
export const stringify = (...args) => yaml().stringify(...args);
export const isScalar = (...args) => yaml().isScalar(...args);
export const visit = (...args) => yaml().visit(...args);
export function LineCounter() { return new (yaml().LineCounter)(); }`,
    }));
  },
});

/** WebAssembly is a pack as it is. */
const packWasm = wasmImport((path) => {
  addPack(basename(path), readFileSync(path));
  return `edgeAsset(${JSON.stringify(basename(path))})`;
});

const PLUGINS = [leaveOutAddons, pageBundle, packWasm];
/**
 * ctl and its verbs share one copy of the yaml package, a pack too. The others run for long and keep a copy of their own:
 * by the time that they need it, their file may be another one.
 */
const YAML_PACK = 'yaml';
const pluginsOf = (name) => [
  ...PLUGINS,
  deferYaml(/^ctl(?:\/|$)/u.test(name) ? `edgeUnpack('${YAML_PACK}')` : "require('yaml')"),
];

/** Whether a module needs, in the end, something heavy. */
function isHeavy(inputs, path) {
  const seen = new Set();
  const visit = (at) => {
    if (seen.has(at)) return false;
    seen.add(at);
    return HEAVY.test(at) || (inputs[at]?.imports ?? []).some((each) => !each.external && visit(each.path));
  };
  return visit(path);
}

/** Builds the packs of the dynamic imports that `isWanted` chooses; `stub` is what stands for one of them. */
const packImports = (isWanted, stub) => ({
  name: 'pack-imports',
  setup({ onLoad, onResolve }) {
    onResolve({ filter: /^\.\// }, ({ kind, importer, path }) => {
      const file = join(dirname(importer), path);
      return kind === 'dynamic-import' && SWITCHES.has(importer) && isWanted(file)
        ? { path: file, namespace: 'packed' }
        : undefined;
    });
    onLoad({ filter: /.*/, namespace: 'packed' }, async ({ path }) => {
      const name = relative(join(root, 'src/cmd'), path).replace(/(?:\/main)?\.ts$/u, '');
      await pack(name, path);
      return { resolveDir: join(root, 'src/cmd'), contents: stub(JSON.stringify(name)) };
    });
  },
});

/** Bundles a subcommand or verb, compressed, into `packs`. */
async function pack(name, path) {
  const options = { ...common, entryPoints: [path], write: false };
  let plugins = pluginsOf(name);
  if (SWITCHES.has(path)) {
    const { metafile } = await build({ ...options, plugins, metafile: true });
    plugins = [
      ...plugins,
      packImports(
        (file) => isHeavy(metafile.inputs, relative(root, file)),
        (name) => `export const { run } = edgeUnpack(${name});`,
      ),
    ];
  }
  const { outputFiles } = await build({ ...options, plugins });
  addPack(name, outputFiles[0].contents);
}

const program = await build({
  ...common,
  entryPoints: [join(root, 'src/cmd/main.ts')],
  write: false,
  plugins: [
    ...PLUGINS,
    packImports(
      () => true,
      (name) => `import { unpack } from './unpack.ts'; export const { run } = unpack(${name});`,
    ),
  ],
});
addPack('main', program.outputFiles[0].contents);
const start = await build({ ...common, entryPoints: [join(root, 'src/cmd/start.ts')], write: false });
await pack(YAML_PACK, join(root, 'node_modules/yaml/dist/index.js'));
// where each pack stands, from the end of the file: what comes before may grow without moving it
let fromEnd = 1;
const places = {};
const names = Object.keys(packs).sort((a, b) => (a < b ? -1 : 1)); // the same file from the same source
for (const name of [...names].reverse()) {
  fromEnd += packs[name].length;
  places[name] = [fromEnd, packs[name].length];
}
mkdirSync(join(root, 'dist'), { recursive: true });
const temporary = join(root, `dist/.edge.${process.pid}`);
writeFileSync(
  temporary,
  `${readFileSync(join(root, 'src/cmd/shell-init.sh'), 'utf8').trimEnd()}
const EDGE_PACKS=${JSON.stringify(places)};
${start.outputFiles[0].text.trimEnd()}
//${names.map((name) => packs[name]).join('')}
`,
);
chmodSync(temporary, 0o755);
renameSync(temporary, join(root, 'dist/edge')); // whole or not at all, also while an old copy runs
