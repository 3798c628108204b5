/** frp's templates are rendered as far as frp documents them; anything else is an error that names the line. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseNumberRange, parseNumberRangePair } from './number-range.ts';
import { renderTemplate } from './template.ts';

const ENV: Readonly<Record<string, string>> = { TOKEN: 'secret', EMPTY: '' };
const render = (text: string): string =>
  renderTemplate(text, { source: 'frps.toml', readEnv: (name) => ENV[name] });

for (const [what, template, text] of [
  ['text without braces', 'bindPort = 7000\n', 'bindPort = 7000\n'],
  ['single braces', 'a = { b = { c = 1 } }\n', 'a = { b = { c = 1 } }\n'],
  ['a variable', 'a = "{{ .Envs.TOKEN }}"', 'a = "secret"'],
  ['a variable without spaces', '{{.Envs.TOKEN}}', 'secret'],
  ['an empty variable', '[{{ .Envs.EMPTY }}]', '[]'],
  ['a comment', 'a{{/* nothing */}}b', 'ab'],
  ['trimmed space', 'a \n {{- .Envs.TOKEN -}} \n b', 'asecretb'],
  ['a range over numbers', '{{ range parseNumberRange "1-3,5" }}{{ . }} {{ end }}', '1 2 3 5 '],
  ['a range with an item', '{{ range $v := parseNumberRange "7,9" }}<{{ $v }}>{{ end }}', '<7><9>'],
  [
    'a range with index and item',
    '{{ range $i, $v := parseNumberRange "7,9" }}{{ $i }}={{ $v }};{{ end }}',
    '0=7;1=9;',
  ],
  [
    'a range over pairs as frp documents it',
    '{{- range $_, $v := parseNumberRangePair "6000-6001,6007" "7000-7002" }}\n[{{ $v.First }} {{ .Second }}]\n{{- end }}\n',
    '\n[6000 7000]\n[6001 7001]\n[6007 7002]\n',
  ],
  [
    'a range in a range',
    '{{ range parseNumberRange "1,2" }}{{ range parseNumberRange `8-9` }}{{ . }}{{ end }};{{ end }}',
    '89;89;',
  ],
  ['a variable inside a range', '{{ range parseNumberRange "1" }}{{ $.Envs.TOKEN }}{{ end }}', 'secret'],
] as const) {
  test(`${what} is rendered`, () => assert.equal(render(template), text));
}

for (const [what, template, message] of [
  ['a variable that is not set', 'a\n{{ .Envs.NONE }}', /^frps\.toml:2: variable NONE is not set/u],
  ['an action that never ends', 'a = "{{ .Envs.TOKEN"', /^frps\.toml:1: an action begins/u],
  ['a condition', '\n\n{{ if .Envs.TOKEN }}x{{ end }}', /^frps\.toml:3: \{\{ if .* is not supported/u],
  ['another function', '{{ range seq 3 }}{{ end }}', /is not supported/u],
  [
    'a function of frp with a wrong name',
    '{{ range parseNumbers "1" }}{{ end }}',
    /parseNumbers is not supported/u,
  ],
  ['a range that never ends', 'a\n{{ range parseNumberRange "1" }}', /^frps\.toml:2: range has no end/u],
  ['an end without a range', '{{ end }}', /end without a range/u],
  ['a dot outside a range', '{{ . }}', /outside a range/u],
  ['a variable that nobody defined', '{{ $x }}', /\$x is not defined/u],
  ['the half of a number', '{{ range parseNumberRange "1" }}{{ .First }}{{ end }}', /a number has no First/u],
  ['a whole pair', '{{ range parseNumberRangePair "1" "2" }}{{ . }}{{ end }}', /wants \.First or \.Second/u],
  [
    'the environment by the dot of a range',
    '{{ range parseNumberRange "1" }}{{ .Envs.TOKEN }}{{ end }}',
    /is written/u,
  ],
  ['too few arguments', '{{ range parseNumberRangePair "1" }}{{ end }}', /wants 2 texts/u],
  [
    'ranges of different length',
    '{{ range parseNumberRangePair "1-2" "3" }}{{ end }}',
    /have 2 and 1 numbers/u,
  ],
  [
    'a range that is no range',
    '{{ range parseNumberRange "a-b" }}{{ end }}',
    /neither a number nor a range/u,
  ],
] as const) {
  test(`${what} is refused`, () => {
    assert.throws(() => render(template), { code: 'EDGE_ERR_ROUTER_CONFIG', message });
  });
}

test('ranges that multiply are stopped, whether or not they print', () => {
  const nest = (body: string): string =>
    Array.from({ length: 4 }).reduce<string>(
      (inner) => `{{ range parseNumberRange "1-60000" }}${inner}{{ end }}`,
      body,
    );
  assert.throws(() => render(nest('0123456789')), { code: 'EDGE_ERR_ROUTER_CONFIG' });
  assert.throws(() => render(nest('')), { code: 'EDGE_ERR_ROUTER_CONFIG' });
  assert.throws(() => render('{{ range parseNumberRange "1-99999999" }}{{ end }}'), /more than 65536/u);
});

test('number ranges are lists of numbers and ranges', () => {
  assert.deepEqual(parseNumberRange(' 1 - 2 , 4'), [1, 2, 4]);
  assert.deepEqual(parseNumberRangePair('1', '2'), [{ first: 1, second: 2 }]);
  for (const wrong of ['', '1-', '-1', '1,,2', '2-1', '1.5', '99999999999999999999'])
    assert.throws(() => parseNumberRange(wrong), Error, wrong);
});

test('comments may hold braces', () => {
  assert.equal(render('a{{/* {{ .Envs.X }} */}}b'), 'ab');
  assert.equal(render('a {{- /* }} */ -}} b'), 'ab');
  assert.throws(() => render('a{{/* b }}'), /never ends/u);
});
