/** Tests of the import table: what it finds in source lines, and each kind of refusal. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { importsOf, problemsOf } from './import-rules.mjs';

const rulesBroken = (path: string, text: string): number => problemsOf(path, text).length;

test('sees every form of import and nothing in comments', () => {
  const text = [
    `import { a } from './a.ts';`,
    `import type { B } from './b.ts';`,
    `import {`,
    `  c,`,
    `} from './c.ts';`,
    `export * from './d.ts';`,
    `import './e.ts';`,
    `const f = await import('./f.ts');`,
    `type G = import('./g.ts').G;`,
    `// import { no } from './no.ts';`,
    ` * import { no } from './no.ts';`,
  ].join('\n');
  const found = importsOf(text).map(({ specifier }: { specifier: string }) => specifier);
  assert.deepEqual(found, ['./a.ts', './b.ts', './c.ts', './d.ts', './e.ts', './f.ts', './g.ts']);
});

test('allows imports that point downward', () => {
  assert.equal(rulesBroken('src/cmd/router.ts', `import { createRouter } from '../router/router.ts';`), 0);
  assert.equal(
    rulesBroken('src/router/router.ts', `import { createFrps } from '../tunnel/frps/service.ts';`),
    0,
  );
  assert.equal(rulesBroken('src/tunnel/frps/control.ts', `import { relay } from '../relay.ts';`), 0);
  assert.equal(rulesBroken('src/lib/yaml.ts', `import { parse } from 'yaml';`), 0);
  const wasm = `import wasm from '../../../node_modules/sql.js/dist/sql-wasm.wasm';`;
  assert.equal(rulesBroken('src/apiserver/store/sqlite.ts', wasm), 0);
});

test('refuses upward, sideways and test imports, types included', () => {
  const refused: [string, string][] = [
    ['src/lib/log.ts', `import { GROUP } from '../api/edge.ts';`],
    ['src/router/status.ts', `import type { X } from '../sidecar/exports.ts';`],
    ['src/apiserver/server.ts', `import { createClient } from '../apiclient/client.ts';`],
    ['src/tunnel/frps/control.ts', `import { x } from '../frpc/control.ts';`],
    ['src/tunnel/yamux/stream.ts', `import { x } from '../frp/message.ts';`],
    ['src/tunnel/relay.ts', `import { x } from './yamux/stream.ts';`],
    ['src/dns/server.ts', `import { waitFor } from '../../test/support/wait.ts';`],
    ['src/dns/server.ts', `import { x } from './codec';`],
    ['src/elsewhere/x.ts', `import { x } from '../lib/log.ts';`],
  ];
  for (const [path, text] of refused) assert.equal(rulesBroken(path, text), 1, `${path}: ${text}`);
});

test('refuses a package outside its wrapper, an unknown one, and a builtin without its prefix', () => {
  assert.equal(rulesBroken('src/lib/options.ts', `import { Command } from 'commander';`), 1);
  assert.equal(rulesBroken('src/apiserver/server.ts', `import initSqlJs from 'sql.js';`), 1);
  assert.equal(rulesBroken('src/lib/http.ts', `import express from 'express';`), 1);
  assert.equal(
    rulesBroken('src/api/x.ts', `import w from '../../node_modules/sql.js/dist/sql-wasm.wasm';`),
    1,
  );
  assert.equal(rulesBroken('src/lib/http.ts', `import { readFileSync } from 'fs';`), 1);
  assert.equal(rulesBroken('src/lib/http.ts', `import x from '@hono/node-server/utils/response';`), 0);
});

test('refuses a subcommand that uses two components', () => {
  const text = `import { a } from '../router/router.ts';\nimport { b } from '../sidecar/sidecar.ts';`;
  assert.equal(rulesBroken('src/cmd/router.ts', text), 1);
});

test('lets unit tests import what they compare with', () => {
  assert.equal(rulesBroken('src/dns/server.test.ts', `import { decode } from 'dns-packet';`), 0);
});
