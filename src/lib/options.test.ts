/** Tests of settings: which source wins, what each kind of option reads, and how mistakes are named. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from './errors.ts';
import {
  choiceOption,
  durationOption,
  flagName,
  integerOption,
  listOption,
  parseDuration,
  resolveOptions,
  stringOption,
  suggestion,
  switchOption,
  textOption,
} from './options.ts';
import type { OptionSources } from './options.ts';

const table = {
  node: textOption({ description: 'node', default: 'node-1', env: ['EDGE_NODE_NAME', 'NODE_NAME'] }),
  tokenFile: stringOption({ description: 'token', env: 'EDGE_TOKEN_FILE' }),
  peers: listOption({ description: 'peers', env: 'SYNCER_PEERS' }),
  logFormat: choiceOption({
    description: 'log',
    choices: ['text', 'json'],
    default: 'text',
    env: 'EDGE_LOG_FORMAT',
  }),
  insecureHttp: switchOption({ description: 'plain', env: 'EDGE_INSECURE_HTTP' }),
  retries: integerOption({ description: 'retries', default: 3, min: 0, max: 10, env: 'EDGE_RETRIES' }),
  drainTimeout: durationOption({ description: 'drain', default: '10s', env: 'EDGE_DRAIN_TIMEOUT' }),
};

const resolve = (sources: Partial<OptionSources>) =>
  resolveOptions(table, { flags: {}, env: {}, ...sources });
const file = (values: unknown) => ({ file: { name: 'edge.yaml', values } });

/** Asserts a UsageError with exactly this message. */
function refuses(sources: Partial<OptionSources>, message: string): void {
  assert.throws(
    () => resolve(sources),
    (err) => {
      assert.ok(err instanceof UsageError);
      assert.equal(err.code, 'EDGE_ERR_USAGE');
      assert.equal(err.message, message);
      return true;
    },
  );
}

test('without any source the defaults hold', () => {
  assert.deepEqual(resolve({}), {
    node: 'node-1',
    tokenFile: undefined,
    peers: [],
    logFormat: 'text',
    insecureHttp: false,
    retries: 3,
    drainTimeout: 10_000,
  });
});

test('a flag wins over a variable, a variable over the file, the file over the default', () => {
  const all = { flags: { node: ['flag'] }, env: { EDGE_NODE_NAME: 'env' }, ...file({ node: 'file' }) };
  assert.equal(resolve(all).node, 'flag');
  assert.equal(resolve({ ...all, flags: {} }).node, 'env');
  assert.equal(resolve({ ...all, flags: {}, env: {} }).node, 'file');
});

test('the first variable that is set wins, and an empty one is not set', () => {
  assert.equal(resolve({ env: { EDGE_NODE_NAME: 'a', NODE_NAME: 'b' } }).node, 'a');
  assert.equal(resolve({ env: { EDGE_NODE_NAME: '', NODE_NAME: 'b' } }).node, 'b');
  assert.equal(resolve({ env: { EDGE_NODE_NAME: '' } }).node, 'node-1');
});

test('an empty flag is a value, not an absent one', () => {
  assert.equal(resolve({ flags: { node: [''] }, env: { EDGE_NODE_NAME: 'env' } }).node, '');
});

test('the last of a flag that is given twice counts; a list adds them up', () => {
  const values = resolve({ flags: { node: ['a', 'b'], peers: ['x, y', 'z'] } });
  assert.equal(values.node, 'b');
  assert.deepEqual(values.peers, ['x', 'y', 'z']);
});

test('a list comes from commas in a variable and from a sequence in a file', () => {
  assert.deepEqual(resolve({ env: { SYNCER_PEERS: 'a,,b,' } }).peers, ['a', 'b']);
  assert.deepEqual(resolve(file({ peers: ['a', 5] })).peers, ['a', '5']);
  assert.deepEqual(resolve(file({ peers: 'a,b' })).peers, ['a', 'b']);
  refuses(file({ peers: ['a', {}] }), 'edge.yaml: peers[1]: wanted a text, got a map');
});

test('a switch takes its flag alone, and words in a variable or file', () => {
  assert.equal(resolve({ flags: { insecureHttp: [''] } }).insecureHttp, true);
  assert.equal(resolve({ flags: { insecureHttp: ['false'] } }).insecureHttp, false);
  assert.equal(resolve({ env: { EDGE_INSECURE_HTTP: 'Yes' } }).insecureHttp, true);
  assert.equal(resolve({ env: { EDGE_INSECURE_HTTP: '0' } }).insecureHttp, false);
  assert.equal(resolve(file({ insecureHttp: true })).insecureHttp, true);
  refuses({ env: { EDGE_INSECURE_HTTP: 'maybe' } }, 'EDGE_INSECURE_HTTP: "maybe" is neither true nor false');
});

test('a mistake names the flag, variable or key it came from', () => {
  refuses({ flags: { logFormat: ['xml'] } }, '--log-format: "xml" is not one of text, json');
  refuses({ env: { EDGE_LOG_FORMAT: 'xml' } }, 'EDGE_LOG_FORMAT: "xml" is not one of text, json');
  refuses(file({ logFormat: 'xml' }), 'edge.yaml: logFormat: "xml" is not one of text, json');
});

test('a whole number keeps its bounds', () => {
  assert.equal(resolve({ flags: { retries: ['0'] } }).retries, 0);
  assert.equal(resolve({ flags: { retries: ['10'] } }).retries, 10);
  for (const text of ['-1', '11', '1.5', 'x', ' ']) {
    refuses({ flags: { retries: [text] } }, `--retries: "${text}" is not a whole number from 0 to 10`);
  }
});

test('an unknown key of the file is an error that suggests the known one', () => {
  refuses(
    file({ drainTimout: '5s' }),
    'edge.yaml: unknown setting "drainTimout"; did you mean "drainTimeout"?',
  );
  refuses(file({ somethingElse: 1 }), 'edge.yaml: unknown setting "somethingElse"');
  const sources = { ...file({ services: [] }), otherFileKeys: ['services'] };
  assert.equal(resolve(sources).node, 'node-1');
});

test('a file must hold a map; an empty file sets nothing', () => {
  refuses(file(['a']), 'edge.yaml: wanted a map of settings, got a list');
  refuses(file('text'), 'edge.yaml: wanted a map of settings, got "text"');
  assert.equal(resolve(file(undefined)).node, 'node-1');
});

test('an option without a flag still reads variables', () => {
  const hidden = { token: stringOption({ description: 'token', env: 'EDGE_TOKEN', hasFlag: false }) };
  assert.equal(hidden.token.hasFlag, false);
  assert.equal(resolveOptions(hidden, { flags: {}, env: { EDGE_TOKEN: 't' } }).token, 't');
});

test('a check of a text sees the source and may change the text', () => {
  const check = (text: string, what: string) => {
    if (text === 'bad') throw new UsageError(`${what}: refused`);
    return text.toUpperCase();
  };
  const checked = { name: stringOption({ description: 'name', check }) };
  assert.equal(resolveOptions(checked, { flags: { name: ['ok'] }, env: {} }).name, 'OK');
  assert.throws(() => resolveOptions(checked, { flags: { name: ['bad'] }, env: {} }), {
    message: '--name: refused',
  });
});

test('durations add their parts up; a bare number is seconds', () => {
  const cases: [string, number][] = [
    ['500ms', 500],
    ['10s', 10_000],
    ['1m30s', 90_000],
    ['2h', 7_200_000],
    ['1.5s', 1500],
    ['7', 7000],
    ['0', 0],
    [' 3s ', 3000],
  ];
  for (const [text, ms] of cases) assert.equal(parseDuration(text, 'x'), ms, text);
  for (const text of ['', '1d', '-5s', '5 s', 's', '1e3', '10s5']) {
    assert.throws(() => parseDuration(text, '--drain-timeout'), {
      code: 'EDGE_ERR_USAGE',
      message: `--drain-timeout: "${text}" is not a duration such as 10s, 500ms or 1m30s`,
    });
  }
});

test('the flag of a key is its kebab-case form', () => {
  assert.equal(flagName('dnsAddr'), 'dns-addr');
  assert.equal(flagName('node'), 'node');
  assert.equal(flagName('tlsClientCaFile'), 'tls-client-ca-file');
});

test('a suggestion is made for a close word only', () => {
  assert.equal(suggestion('ruoter', ['router', 'syncer']), '; did you mean "router"?');
  assert.equal(suggestion('ROUTER', ['router']), '; did you mean "router"?');
  assert.equal(suggestion('banana', ['router', 'syncer']), '');
});
