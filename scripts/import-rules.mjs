// The import table: who may import what in src. Pure rules over source texts; check-imports.mjs applies them to the tree.
import { builtinModules } from 'node:module';
import { dirname, join, normalize } from 'node:path';

const COMPONENTS = ['apiserver', 'router', 'syncer', 'sidecar'];

/** What each folder of src may import beside itself. */
const MAY_IMPORT = {
  // cmd hands a component the tunnel or the DNS it is to use, so that the component can be tested with another
  cmd: [...COMPONENTS, 'ssh', 'tunnel', 'dns', 'apiclient', 'api', 'lib'],
  router: ['ssh', 'tunnel', 'dns', 'apiclient', 'api', 'lib'],
  // what a node tells about its sshd
  sidecar: ['ssh', 'tunnel', 'dns', 'apiclient', 'api', 'lib'],
  syncer: ['apiclient', 'api', 'lib'],
  // the shells that the adapter opens on nodes
  apiserver: ['ssh', 'api', 'lib'],
  // no apiclient: who uses it brings the objects, so that the apiserver can too
  ssh: ['tunnel', 'api', 'lib'],
  tunnel: ['lib'],
  dns: ['lib'],
  apiclient: ['api', 'lib'],
  api: ['lib'],
  lib: [],
};

/** The same inside tunnel; `.` is its own files (byte-stream.ts, relay.ts), which all may use. */
const WITHIN_TUNNEL = {
  frps: ['frp', 'yamux', 'websocket', 'nathole', 'seal', '.'],
  frpc: ['frp', 'yamux', 'websocket', 'nathole', 'seal', '.'],
  nathole: ['frp', '.'],
  seal: ['frp', '.'],
  frp: ['.'],
  yamux: ['.'],
  websocket: ['.'],
  '.': [],
};

/** Where each package may be imported: a file, or a folder that ends with a slash. */
const WRAPPERS = {
  commander: ['src/cmd/'],
  'sql.js': ['src/apiserver/store/'],
  'dns-packet': ['src/dns/codec.ts'],
  ajv: ['src/api/validate.ts'],
  // reading, and editing in place, which few need
  yaml: ['src/lib/yaml.ts', 'src/lib/yaml-edit.ts'],
  'smol-toml': ['src/lib/toml.ts'],
  // a byte stream for the tunnel, and frames of a terminal: layers that cannot share
  ws: ['src/tunnel/websocket/', 'src/apiserver/terminal/socket.ts'],
  // the browser's half, bundled apart
  '@xterm/xterm': ['src/apiserver/terminal/page/'],
  '@xterm/addon-fit': ['src/apiserver/terminal/page/'],
  'prom-client': ['src/lib/metrics.ts'],
  '@hono/node-server': ['src/lib/http.ts'],
  hono: ['src/lib/', 'src/apiserver/', 'src/router/', 'src/sidecar/'],
  // two makers of certificates, an authority and a self-signed one, in layers that cannot share
  '@peculiar/x509': ['src/apiserver/pki/', 'src/tunnel/frps/certificate.ts'],
  'reflect-metadata': ['src/apiserver/pki/', 'src/tunnel/frps/certificate.ts'],
  ssh2: ['src/ssh/'],
  rfc6902: ['src/apiserver/registry/json-patch.ts'],
};

const IMPORT_FORMS = [
  /^\s*(?:import|export)\b[^'"]*?\bfrom\s*['"]([^'"]+)['"]/u, // on one line
  /^\s*\}\s*from\s*['"]([^'"]+)['"]/u, // the end of one over several lines
  /^\s*import\s*['"]([^'"]+)['"]/u, // for its effects
  /\b(?:import|require)\(\s*['"]([^'"]+)['"]/u, // dynamic, and types as import('x').T
];

/** The imports of a source text, with their line numbers. */
export function importsOf(text) {
  const found = [];
  for (const [index, line] of text.split('\n').entries()) {
    if (/^\s*(?:\/\/|\*|\/\*)/u.test(line)) continue;
    const match = IMPORT_FORMS.map((form) => form.exec(line)).find((result) => result !== null);
    if (match !== undefined) found.push({ specifier: match[1], line: index + 1 });
  }
  return found;
}

const areaOf = (path) => path.split('/')[1];
const tunnelPartOf = (path) => (path.split('/').length > 3 ? path.split('/')[2] : '.');
const packageOf = (specifier) =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');

/** The rule that an import breaks, or undefined. `path` is relative to the repository, with slashes. */
export function brokenRule(path, specifier) {
  if (specifier.startsWith('node:')) return undefined;
  if (builtinModules.includes(specifier)) return `write node:${specifier}`;
  // a file of a package (its wasm) is an import of the package
  const inside = /\/node_modules\/(.+)$/u.exec(specifier)?.[1];
  if (inside !== undefined) return brokenRule(path, inside);
  if (specifier.startsWith('.'))
    return brokenFileRule(path, normalize(join(dirname(path), specifier)), specifier);
  const allowed = WRAPPERS[packageOf(specifier)];
  if (allowed === undefined) return 'a new package needs one wrapper, named in scripts/check-imports.mjs';
  if (allowed.some((place) => (place.endsWith('/') ? path.startsWith(place) : path === place)))
    return undefined;
  return `${packageOf(specifier)} is imported in ${allowed.join(', ')} only`;
}

function brokenFileRule(path, target, specifier) {
  if (!/\.(?:ts|json|html|css|js|sql|wasm)$/u.test(specifier)) return 'relative imports end in .ts';
  if (!target.startsWith('src/')) return 'src imports nothing outside src';
  const [from, to] = [areaOf(path), areaOf(target)];
  if (from === to) {
    if (from !== 'tunnel') return undefined;
    const [part, other] = [tunnelPartOf(path), tunnelPartOf(target)];
    if (part === other || (WITHIN_TUNNEL[part] ?? []).includes(other)) return undefined;
    return `tunnel/${part} may import ${WITHIN_TUNNEL[part]?.join(', ') ?? 'nothing'} of tunnel`;
  }
  const allowed = MAY_IMPORT[from];
  if (allowed === undefined) return `src/${from} is not in the import table`;
  return allowed.includes(to)
    ? undefined
    : `${from} may import ${allowed.join(', ') || 'nothing else of src'}`;
}

/** Every broken rule of one file, as lines to print. A test may look at any part, so only its shape is checked. */
export function problemsOf(path, text) {
  if (path.endsWith('.test.ts')) return [];
  const imports = importsOf(text);
  const problems = imports.flatMap(({ specifier, line }) => {
    const rule = brokenRule(path, specifier);
    return rule === undefined ? [] : [`${path}:${line}: ${specifier}: ${rule}`];
  });
  if (areaOf(path) !== 'cmd') return problems;
  const targets = imports.map(({ specifier }) => areaOf(normalize(join(dirname(path), specifier))));
  const used = [...new Set(targets.filter((area) => COMPONENTS.includes(area)))];
  return used.length > 1
    ? [...problems, `${path}: a subcommand runs one component, this uses ${used.join(', ')}`]
    : problems;
}
