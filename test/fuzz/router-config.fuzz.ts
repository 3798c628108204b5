/**
 * Throws damaged files at what reads frps's configurations: templates, TOML, YAML, JSON, keys. Each is read, or refused
 * with an error that names its source; what is read is within bounds.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorCode } from '../../src/lib/errors.ts';
import { CONFIG_CODES } from '../../src/router/errors.ts';
import { buildFrpsConfig, readFrpsSettings } from '../../src/router/frps-file/config.ts';
import { parseCachedSpec } from '../../src/router/spec-cache.ts';
import { readCorpus } from '../support/corpus.ts';
import { below, fuzz } from '../support/fuzz.ts';

const SEEDS = [
  'bindPort = 7000\nauth.token = "{{ .Envs.TOKEN }}"\n[transport]\ntcpMux = false\n[transport.tls]\nforce = true\n',
  'allowPorts = [\n{{- range $i, $v := parseNumberRangePair "1-3,5" "6-9" }}\n{ single = {{ $v.First }} },\n{{- end }}\n]\n',
  '{{ range parseNumberRange "1-3" }}# {{ . }}\n{{ end }}{{/* c */}}',
  'bindAddr: 127.0.0.1\nbindPort: 7000\nwebServer: {port: 7500, user: a, password: b}\n.x: &x 1\nmaxPortsPerClient: *x\n',
  '{"bindPort":7000,"log":{"level":"info","maxDays":3},"auth":{"additionalScopes":["HeartBeats"]},"httpPlugins":[]}',
  '[[httpPlugins]]\nname = "x"\n',
  '[common]\nbind_port = 7000\n',
  ...readCorpus('config').map(({ bytes }) => bytes.toString()),
];
const PIECES = [
  '{{',
  '}}',
  '{{-',
  '-}}',
  'range',
  'end',
  '$v',
  '.Envs.',
  '"',
  "'",
  '`',
  '\n',
  '=',
  ':',
  '[',
  ']',
  '{',
  '}',
  ',',
  '.',
  '-',
  '0',
  '65536',
  '-1',
  '1e9',
  '99999999999999999999',
  'true',
  'null',
  '\0',
  '\u00e9',
  '\uFEFF',
  '&a',
  '*a',
  '!!binary',
  '__proto__',
  'constructor',
  'bindPort',
  '2026-01-02T03:04:05Z',
];
const NAMES = ['frps.toml', 'frps.yaml', 'frps.json', 'frps'];

/** A seed with up to five pieces put in, taken out or doubled. */
function damaged(): string {
  let text = SEEDS[below(SEEDS.length)] ?? '';
  for (let step = below(6); step > 0; step--) {
    const at = below(text.length + 1);
    const length = below(8);
    const piece = PIECES[below(PIECES.length)] ?? '';
    const kind = below(3);
    if (kind === 0) text = text.slice(0, at) + piece + text.slice(at);
    else if (kind === 1) text = text.slice(0, at) + text.slice(at + length);
    else text = text.slice(0, at) + text.slice(at, at + length) + text.slice(at);
  }
  return text;
}

test('damaged configuration files are read or refused by name', async () => {
  let read = 0;
  let refused = 0;
  await fuzz('router configuration', () => {
    const text = damaged();
    const name = NAMES[below(NAMES.length)] ?? '';
    const secrets = {
      readFile: () => text,
      readEnv: (variable: string) => (variable === 'TOKEN' ? 'secret' : undefined),
      stamp: () => '',
    };
    try {
      const { server, dashboard } = buildFrpsConfig(
        name,
        readFrpsSettings(name, secrets),
        { token: undefined, socketPath: undefined },
        secrets,
      );
      assert.ok(server.bindPort >= 1 && server.bindPort <= 65_535, JSON.stringify(text));
      assert.equal(typeof server.token, 'string');
      assert.ok(server.allowPorts.every(({ start, end }) => start >= 1 && start <= end && end <= 65_535));
      assert.ok(server.heartbeatTimeoutMs < 2 ** 31 && server.userConnTimeoutMs > 0);
      assert.ok(dashboard === undefined || dashboard.port > 0);
      read++;
    } catch (err) {
      assert.ok(CONFIG_CODES.has(errorCode(err) ?? ''), `${JSON.stringify(text)}: ${String(err)}`);
      assert.ok((err as Error).message.startsWith(name), `${JSON.stringify(text)}: ${String(err)}`);
      refused++;
    }
    assert.equal(({} as Record<string, unknown>)['bindPort'], undefined);
  });
  assert.ok(read > 0 && refused > 0, `read ${read}, refused ${refused}`);
});

test('files as operators write them are read', () => {
  for (const { name, bytes } of readCorpus('config')) {
    const secrets = { readFile: () => bytes.toString(), readEnv: () => 'secret', stamp: () => '' };
    const overrides = { token: undefined, socketPath: undefined };
    const { server } = buildFrpsConfig(name, readFrpsSettings(name, secrets), overrides, secrets);
    assert.equal(server.bindPort, 7000, name);
  }
});

test('a damaged cache is read or refused', () => {
  const whole = '{"version":1,"spec":{"frps":{"bindPort":7000,"auth":{"tokenFrom":{"file":"/f"}}}}}';
  for (let at = 0; at < whole.length; at++) assert.throws(() => parseCachedSpec(whole.slice(0, at)), Error);
  assert.equal(parseCachedSpec(whole).frps.bindPort, 7000);
});
