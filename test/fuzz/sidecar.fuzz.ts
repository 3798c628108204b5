/**
 * Throws damaged texts at everything a sidecar reads: service lists, files, tokens, the cache. Each is read or refused
 * with an error that says so, and what is read keeps its promises.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '../../src/lib/errors.ts';
import { parseState } from '../../src/sidecar/cache.ts';
import { parseExportsFile, parseImportsFile } from '../../src/sidecar/services-file.ts';
import { parseExported, parseMapped } from '../../src/sidecar/services.ts';
import { selectRouters } from '../../src/sidecar/routers.ts';
import { parseTokenFile } from '../../src/api/router-tokens.ts';
import { below, fuzz } from '../support/fuzz.ts';

const SEEDS = [
  'mysql',
  'redis.cache:6379/tcp',
  'web.prod.east.example.org:80',
  'web=8080',
  'db.prod=[::1]:3306/udp',
  'services: [{name: a, namespace: b, cluster: c, ports: [{name: p, port: 80, protocol: TCP, targetPort: 8080}]}]',
  'services:\n- name: mysql\n  ports:\n  - port: 3306\n',
  'node-1: one\n"*": two\n',
  '{"version":1,"addresses":{"a.b":"127.0.66.1"},"ports":{"a.b":[80]},"routers":[{"metadata":{"name":"n"},"spec":{"frps":{"bindPort":7000}},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.1"}],"conditions":[{"type":"Ready","status":"True"}],"activeServices":[{"name":"a","namespace":"b","protocol":"TCP","targetPort":80,"providers":[{"id":"x","type":"stcp"}]}]}}]}',
];
const PIECES = [
  '.',
  ':',
  '/',
  '=',
  '-',
  ',',
  '[',
  ']',
  '{',
  '}',
  '"',
  '\n',
  ' ',
  '0',
  '65536',
  'udp',
  'null',
  '\0',
  '\u00e9',
  '&a',
  '*a',
  '!!x',
];

/** A seed with up to four pieces put in, taken out or doubled. */
function damaged(): string {
  let text = SEEDS[below(SEEDS.length)] ?? '';
  for (let step = below(5); step > 0; step--) {
    const at = below(text.length + 1);
    const piece = below(3) === 0 ? text.slice(at, at + below(8)) : (PIECES[below(PIECES.length)] ?? '');
    text = text.slice(0, at) + piece + text.slice(at + below(3));
  }
  return text;
}

/** The parsed value, or undefined after a refusal in words. */
function attempt<T>(parse: () => T): T | undefined {
  try {
    return parse();
  } catch (err) {
    const code = errorCode(err);
    assert.ok(code === 'EDGE_ERR_USAGE' || code === 'EDGE_ERR_YAML_PARSE', String(err));
    assert.doesNotMatch((err as Error).message, /undefined|\[object/u);
    return undefined;
  }
}

const LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/u;
const isPort = (port: number): boolean => Number.isInteger(port) && port >= 1 && port <= 65_535;

test('texts are read or refused', async () => {
  let read = 0;
  await fuzz('sidecar texts', () => {
    const text = damaged();
    const mapped = [
      attempt(() => parseMapped(text, 'f', 'default')),
      ...(attempt(() => parseImportsFile(text, 'f', 'default')) ?? []),
    ];
    const exported = [
      attempt(() => parseExported(text, 'f', 'default')),
      ...(attempt(() => parseExportsFile(text, 'f', 'default')) ?? []),
    ];
    for (const service of mapped) {
      if (service === undefined) continue;
      read++;
      assert.ok(
        LABEL.test(service.name) && LABEL.test(service.namespace) && service.ports.every(isPort),
        text,
      );
    }
    for (const service of exported) {
      if (service === undefined) continue;
      read++;
      assert.ok(LABEL.test(service.name) && isPort(service.port) && isPort(service.target.port), text);
    }
    attempt(() => parseTokenFile(text, 'f'));
    let cached;
    try {
      cached = parseState(text);
    } catch {
      return; // the loader ignores a damaged cache, whatever is wrong with it
    }
    read++;
    selectRouters(cached.routers, { node: 'n', only: [] }); // what the check lets through can be used
  });
  assert.ok(read > 0);
});
