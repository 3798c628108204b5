/**
 * The API server's HTTP surface against random requests, through the application and over raw sockets: it never
 * crashes, never answers 500, and every refusal is a Status whose code is the answer's.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { systemFiles } from '../../src/apiserver/store/files.ts';
import type { FileLayer } from '../../src/apiserver/store/files.ts';
import { parseYaml } from '../../src/lib/yaml.ts';
import { createHarness, NODE_MAINTENANCES, router, ROUTERS } from '../support/apiserver-harness.ts';
import type { Harness } from '../support/apiserver-harness.ts';
import { createRandom } from '../support/random.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? Date.now() % 2 ** 31);
const BUDGET_MS = Number(process.env['FUZZ_MS'] ?? 1000);
/** So many also where the machine pauses. */
const MIN_INPUTS = 100;
/** The part that goes over sockets; each of those may wait, so long runs take fewer. */
const RAW_SHARE = Number(process.env['FUZZ_RAW_SHARE'] ?? 0.03);
/** A run that is ended from outside has told by then how far it came. */
const TOLD_EVERY = 100_000;

/** A store that does not wait for the disk: what is tested here stands before it. */
const UNSYNCED: FileLayer = {
  ...systemFiles,
  async open(path) {
    return { ...(await systemFiles.open(path)), sync: () => Promise.resolve() };
  },
};

const METHODS = ['GET', 'GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PURGE', 'get', 'patch'];
const PATHS = [
  ROUTERS,
  `${ROUTERS}/r1`,
  `${ROUTERS}/r1/status`,
  `${ROUTERS}/r2`,
  `${ROUTERS}/r1/scale`,
  `${NODE_MAINTENANCES}/n1`,
  NODE_MAINTENANCES,
  '/api',
  '/api/v1',
  '/api/v1/events',
  '/api/v1/namespaces/default',
  '/api/v1/namespaces/default/events',
  '/apis',
  '/apis/edge.example.com',
  '/apis/edge.example.com/v1',
  '/openapi/v2',
  '/openapi/v3',
  '/openapi/v3/apis/edge.example.com/v1',
  '/version',
  '/healthz',
  '/readyz',
  '/apis/apiextensions.k8s.io/v1',
  '/apis/apiextensions.k8s.io/v1/customresourcedefinitions',
  '/apis/apiextensions.k8s.io/v1/customresourcedefinitions/routers.edge.example.com',
  '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
  '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews',
  '/apis/authentication.k8s.io/v1/selfsubjectreviews',
  '/edge/v1/backup',
  '/edge/v1/join',
];
const KEYS = [
  'limit',
  'continue',
  'resourceVersion',
  'resourceVersionMatch',
  'labelSelector',
  'fieldSelector',
  'dryRun',
  'fieldManager',
  'fieldValidation',
  'force',
  'propagationPolicy',
  'gracePeriodSeconds',
  'pretty',
  'timeoutSeconds',
  'sendInitialEvents',
  'allowWatchBookmarks',
  'includeObject',
  'orphanDependents',
  'watch',
  '',
  '__proto__',
];
const WORDS = [
  '',
  '0',
  '1',
  '-1',
  '1e9',
  '99999999999999999999',
  'true',
  'false',
  'All',
  'Strict',
  'a=b',
  'a in (b,c)',
  '!a',
  'metadata.name=r1',
  'metadata.name!=r1',
  'a in (',
  ',',
  '=',
  '%00',
  'NotOlderThan',
  'Exact',
  'null',
  '{}',
  '[]',
  'eyJ2IjoxfQ==',
  '\u0000',
  'ü',
  '🚇',
  '../..',
  '%2e%2e',
  '__proto__',
  'constructor',
  'x'.repeat(300),
  'Object',
  'None',
];
const TYPES = [
  'application/json',
  'application/yaml',
  'application/merge-patch+json',
  'application/json-patch+json',
  'application/apply-patch+yaml',
  'application/strategic-merge-patch+json',
  'application/vnd.kubernetes.protobuf',
  'text/plain',
  '',
  ';;;',
  'application/json; charset=utf-16',
  'multipart/form-data',
];
const ACCEPTS = [
  '*/*',
  'application/json',
  'application/yaml',
  'application/json;as=Table;v=v1;g=meta.k8s.io',
  'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io',
  'application/vnd.kubernetes.protobuf',
  'text/html',
  'application/json;as=',
  ',,,',
  ';q=0',
  '',
  'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,*/*;q=0.1',
];

type Random = () => number;

function pick<T>(random: Random, list: readonly T[]): T {
  return list[Math.floor(random() * list.length)] as T;
}

function bytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
}

function value(random: Random, depth: number): unknown {
  const kind = Math.floor(random() * (depth > 4 ? 5 : 8));
  if (kind === 0) return null;
  if (kind === 1) return random() < 0.5;
  if (kind === 2) return pick(random, [0, -1, 1.5, 7000, 65_536, 1e300, -0]);
  if (kind <= 4) return pick(random, WORDS);
  if (kind === 5) return Array.from({ length: Math.floor(random() * 4) }, () => value(random, depth + 1));
  return Object.fromEntries(
    Array.from({ length: Math.floor(random() * 5) }, () => [
      pick(random, [
        'metadata',
        'name',
        'spec',
        'frps',
        'bindPort',
        'status',
        'labels',
        'annotations',
        'finalizers',
        'op',
        'path',
        'value',
        'kind',
        ...WORDS,
      ]),
      value(random, depth + 1),
    ]),
  );
}

const PATCHES: readonly unknown[] = [
  { metadata: { labels: { a: 'b' } } },
  { metadata: { labels: null, finalizers: ['example.org/x'] } },
  { spec: null },
  { status: { version: '1' } },
  [{ op: 'replace', path: '/spec/frps/bindPort', value: 7001 }],
  [{ op: 'add', path: '/metadata/labels/a~1b', value: 'x' }],
  [{ op: 'test', path: '', value: {} }],
  [{ op: 'move', from: '/spec', path: '/spec/frps' }],
  { propagationPolicy: 'Foreground', preconditions: { uid: 'x' } },
];

/** Puts something unexpected into a copy of a sound value. */
function mutate(random: Random, source: unknown): unknown {
  const copy = structuredClone(source) as Record<string, unknown>;
  let at: Record<string, unknown> = copy;
  while (random() < 0.6) {
    const inner = at[pick(random, Object.keys(at))];
    if (typeof inner !== 'object' || inner === null) break;
    at = inner as Record<string, unknown>;
  }
  const keys = Object.keys(at);
  at[keys.length > 0 && random() < 0.7 ? pick(random, keys) : pick(random, WORDS)] = value(random, 0);
  return copy;
}

function body(random: Random): string | Uint8Array<ArrayBuffer> {
  const kind = random();
  const name = pick(random, ['r1', 'r2', 'r3', 'n1', 'UPPER', '']);
  if (kind < 0.3) return JSON.stringify(router(name));
  if (kind < 0.6) return JSON.stringify(mutate(random, router(name)));
  if (kind < 0.75) return JSON.stringify(pick(random, PATCHES));
  if (kind < 0.85) return JSON.stringify(value(random, 0));
  if (kind < 0.88) return pick(random, ['[', '{"a":']).repeat(1 + Math.floor(random() * 5000));
  if (kind < 0.9) return '[{"a":'.repeat(2000) + '1' + '}]'.repeat(2000);
  if (kind < 0.92) return `a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]\n---\n`;
  if (kind < 0.94) return '{"metadata":{"name":"r1","name":"r2"},"__proto__":{"x":1},"constructor":null}';
  const text = Buffer.from(JSON.stringify(router(name)));
  if (kind < 0.98) text[Math.floor(random() * text.length)] = Math.floor(random() * 256);
  return new Uint8Array(kind < 0.98 ? text : bytes(random, Math.floor(random() * 200)));
}

function target(random: Random): string {
  let path = pick(random, PATHS);
  if (random() < 0.15)
    path = `/${Array.from({ length: 1 + Math.floor(random() * 7) }, () => encodeURIComponent(pick(random, WORDS))).join('/')}`;
  if (random() < 0.1) path = path.replace(/[^/]+$/u, () => encodeURIComponent(pick(random, WORDS)));
  if (random() < 0.03) path += pick(random, ['%', '%zz', '%c0%af', '//', '/.', '?', '%00']);
  if (random() < 0.5) return path;
  const query = Array.from(
    { length: 1 + Math.floor(random() * 4) },
    () => `${pick(random, KEYS)}=${random() < 0.9 ? encodeURIComponent(pick(random, WORDS)) : '%ff%'}`,
  );
  return `${path}?${query.join('&')}`;
}

/** Checks what every answer must hold, and gives its code. */
function check(code: number, text: string, what: () => string): void {
  assert.ok(code >= 100 && code < 600 && code !== 500, `${code} ${text.slice(0, 500)}\n${what()}`);
  if (code < 400 || text === '' || code === 503) return;
  let status: { kind?: unknown; code?: unknown } = {};
  try {
    status = (text.startsWith('{') ? JSON.parse(text) : parseYaml(text, 'answer')) as typeof status;
  } catch {
    assert.fail(`${code} is no Status: ${text.slice(0, 200)}\n${what()}`);
  }
  assert.equal(status.kind, 'Status', what());
  assert.equal(status.code, code, what());
}

async function throughApplication(harness: Harness, random: Random): Promise<void> {
  const method = pick(random, METHODS);
  const path = target(random);
  const hasBody = !['GET', 'HEAD', 'get'].includes(method) && random() < 0.9;
  const raw = hasBody ? body(random) : undefined;
  const headers: Record<string, string> = {};
  if (random() < 0.5) headers['accept'] = pick(random, ACCEPTS);
  if (random() < 0.1)
    headers['authorization'] = pick(random, ['Bearer x', 'Basic eDp5', '', 'Bearer', 'bearer  y z']);
  if (random() < 0.1)
    headers[pick(random, ['impersonate-user', 'impersonate-group', 'impersonate-uid', 'user-agent'])] = pick(
      random,
      ['', 'jane', 'edge:sidecar, x', 'curl/8', ',,'],
    );
  if (random() < 0.1) headers['content-length'] = pick(random, ['-1', '99999999999', 'x', '3']);
  const type = random() < 0.9 ? pick(random, TYPES) : undefined;
  const what = (): string =>
    `seed ${SEED}: ${method} ${path} ${JSON.stringify(headers)} ${type ?? ''} ${String(raw).slice(0, 2000)}`;
  const sent = harness.send(method, path, {
    headers,
    ...(type === undefined ? {} : { type }),
    ...(raw === undefined ? {} : { raw }),
    transport: random() < 0.9 ? 'http' : 'socket',
  });
  const answer = await answered(sent, what).catch((err: unknown) => assert.fail(`${String(err)}\n${what()}`));
  // watches need a connection, which the application alone has not
  if (answer.code === 500 && path.includes('watch=')) return;
  check(answer.code, answer.text, what);
}

/** Rejects when an answer takes so long that it will never come; a hung request would end the run without a word. */
async function answered<T>(promise: Promise<T>, what: () => string): Promise<T> {
  let handle: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    handle = setTimeout(() => reject(new Error(`no answer within 20 s\n${what()}`)), 20_000);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(handle);
  }
}

/** The body of an answer; undefined as long as not all of it is there, and for one that does not tell its length. */
function bodyOf(text: string): string | undefined {
  const at = text.indexOf('\r\n\r\n') + 4;
  const length = Number(/^content-length: (\d+)/imu.exec(text.slice(0, at))?.[1] ?? Number.NaN);
  return text.length >= at + length ? text.slice(at, at + length) : undefined;
}

/** Sends bytes and gives the first answer, cut at 64 KiB; undefined when the server only closes or waits for more. */
function sendRaw(port: number, data: Buffer): Promise<string | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(data));
    const finish = (): void => {
      clearTimeout(limit);
      socket.destroy();
      resolve(text.includes('\r\n\r\n') ? text : undefined);
    };
    const limit = setTimeout(finish, 50);
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      if (bodyOf(text) !== undefined || text.length > 65_536) finish();
    });
    socket.on('error', finish).on('close', finish);
  });
}

function rawRequest(random: Random): Buffer {
  const payload = Buffer.from(body(random));
  const lines = [
    `${pick(random, [...METHODS, 'CONNECT', 'TRACE', '', 'GET\t'])} ${target(random)} ${pick(random, ['HTTP/1.1', 'HTTP/1.1', 'HTTP/1.0', 'HTTP/2.0', ''])}`,
    `host: ${pick(random, ['x', '127.0.0.1', '', 'a b'])}`,
    `content-type: ${pick(random, TYPES)}`,
    pick(random, [
      `content-length: ${payload.length}`,
      'transfer-encoding: chunked',
      'content-length: 5, 6',
      'expect: 100-continue',
      'upgrade: websocket\r\nconnection: upgrade',
    ]),
    ...(random() < 0.1 ? [`x-long: ${'y'.repeat(Math.floor(random() * 40_000))}`] : []),
    ...(random() < 0.1 ? Array.from({ length: 300 }, (_, at) => `x-${at}: z`) : []),
  ];
  const whole = Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`), payload]);
  if (random() < 0.4)
    for (let flips = 1 + random() * 4; flips > 0; flips--)
      whole[Math.floor(random() * whole.length)] = Math.floor(random() * 256);
  return random() < 0.1 ? whole.subarray(0, Math.floor(random() * whole.length)) : whole;
}

async function overSocket(port: number, random: Random): Promise<void> {
  const data = rawRequest(random);
  const text = await sendRaw(port, data);
  if (text === undefined) return;
  const what = (): string => `seed ${SEED}: ${data.toString('latin1').slice(0, 2000)}`;
  const code = Number(/^HTTP\/1\.1 (\d{3}) /u.exec(text)?.[1]);
  check(code, bodyOf(text) ?? '', what); // no more of it may have come in time
}

test(
  'random requests get sound answers: never a crash, never a 500',
  { timeout: BUDGET_MS + 60_000 },
  async (t) => {
    const random = createRandom(SEED);
    const harness = await createHarness({ files: UNSYNCED });
    t.after(() => harness.close());
    const { port } = await harness.listen();
    const end = performance.now() + BUDGET_MS;
    let count = 0;
    let rawCount = 0;
    const lane = async (): Promise<void> => {
      while (performance.now() < end || count < MIN_INPUTS) {
        if (random() < RAW_SHARE) {
          await overSocket(port, random);
          rawCount++;
        } else await throughApplication(harness, random);
        count++;
        if (count % TOLD_EVERY === 0)
          process.stderr.write(`http: ${count} inputs, ${rawCount} raw, seed ${SEED}\n`);
      }
    };
    await Promise.all(Array.from({ length: 8 }, lane));
    const alive = await harness.send('GET', '/healthz');
    assert.equal(alive.code, 200);
    t.diagnostic(`${count} inputs, ${rawCount} of them over raw sockets, seed ${SEED}`);
  },
);
