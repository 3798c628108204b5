// The API server beside etcd, in one run on one disk: durable writes, a long list, watch delivery, memory, restart.
// `node bench/apiserver.mjs`; etcd's HTTP gateway stands for etcd, so that one Node client drives both sides alike.
// Writes are also done to a bare server in Node that syncs what it gets, which is the floor for a program like this one.
// EDGE_TEST_KUBE_APISERVER=https://TOKEN@HOST:PORT adds the writes of a kube-apiserver over an etcd of its own.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { freePorts } from '../scripts/demo/ports.mjs';

const root = join(import.meta.dirname, '..');
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 2);
const OBJECTS = Number(process.env.BENCH_OBJECTS ?? 10_000);
/** Before anything counts, so that no round measures compilers at work: long enough for a first checkpoint, too. */
const WARM_UP_SECONDS = Number(process.env.BENCH_WARM_UP_SECONDS ?? 8);
const WATCHERS = 100;
const WATCHED_WRITES = 100;
const ROUTERS = '/apis/edge.example.com/v1/routers';

/** The same object on both sides, of the size of a Router with a status. */
function body(name, serial) {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name, labels: { serial: String(serial) }, annotations: { note: 'x'.repeat(300) } },
    spec: { frps: { bindPort: 7000 } },
  };
}

function send(side, method, path, payload, signal) {
  return new Promise((resolve, reject) => {
    const text = payload === undefined ? undefined : JSON.stringify(payload);
    const headers =
      text === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    const options = { host: '127.0.0.1', port: side.port, method, path, headers, agent: side.agent, signal };
    const outgoing = request(options, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk)).on('error', reject);
      response.on('end', () => {
        const answer = Buffer.concat(chunks);
        if (response.statusCode < 300) resolve(answer);
        else
          reject(
            new Error(`${side.name}: ${method} ${path}: ${response.statusCode} ${answer.slice(0, 200)}`),
          );
      });
    });
    outgoing.on('error', reject);
    outgoing.end(text);
  });
}

/** Opens a stream and calls `onText` with what arrives. */
function stream(side, method, path, payload, onText) {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port: side.port, method, path, agent: false };
    const outgoing = request(options, (response) => {
      response
        .setEncoding('utf8')
        .on('data', onText)
        .on('error', () => {});
      resolve(outgoing);
    });
    outgoing.on('error', reject);
    outgoing.end(payload === undefined ? undefined : JSON.stringify(payload));
  });
}

const base64 = (text) => Buffer.from(text).toString('base64');

/** A request as it goes over the wire. */
function requestText(method, path, type, payload, authorization) {
  const text = JSON.stringify(payload);
  const extra = authorization === undefined ? '' : `Authorization: ${authorization}\r\n`;
  return `${method} ${path} HTTP/1.1\r\nHost: localhost\r\n${extra}Content-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

/** A merge patch of the whole object: a shorter one would do, but etcd's put carries all of it too. */
function patchText({ authorization }, name, serial) {
  const type = 'application/merge-patch+json';
  return requestText('PATCH', `${ROUTERS}/${name}`, type, body(name, serial), authorization);
}

/** One connection and one request at a time, read no further than needed: its processor time is taken from the servers'. */
class Line {
  #socket;
  #text = '';
  #settle = () => {};

  constructor(side) {
    const { host = '127.0.0.1', port } = side;
    this.#socket = side.isTls
      ? connectTls({ host, port, rejectUnauthorized: false })
      : connect({ host, port });
    this.#socket.setNoDelay(true).setEncoding('latin1');
    this.#socket.on('data', (piece) => this.#read(piece));
    this.#socket.on('error', (err) => this.#settle(err));
  }

  #read(piece) {
    this.#text += piece;
    const end = this.#text.indexOf('\r\n\r\n');
    if (end === -1) return;
    const head = this.#text.slice(0, end);
    const length = /content-length: (\d+)/iu.exec(head)?.[1];
    const isWhole =
      length === undefined ? this.#text.endsWith('0\r\n\r\n') : this.#text.length >= end + 4 + Number(length);
    if (!isWhole) return;
    const isDone = /^HTTP\/1\.1 20\d /u.test(head);
    const problem = isDone ? undefined : new Error(this.#text.slice(0, 300));
    this.#text = '';
    this.#settle(problem);
  }

  send(text) {
    return new Promise((resolve, reject) => {
      this.#settle = (err) => (err === undefined ? resolve() : reject(err));
      this.#socket.write(text, 'latin1');
    });
  }

  close() {
    this.#socket.destroy();
  }
}

class Side {
  constructor(name, dir, port) {
    Object.assign(this, { name, dir, port, agent: new Agent({ keepAlive: true, maxSockets: 64 }) });
  }

  async start() {
    const startedAt = performance.now();
    const { command, args } = this.command();
    this.child = spawn(command, args, { stdio: ['ignore', 'ignore', 'ignore'] });
    for (;;) {
      try {
        await this.read('bench-0').catch((err) => {
          if (!/ 404 /u.test(err.message)) throw err;
        });
        return performance.now() - startedAt;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
  }

  async kill() {
    this.agent.destroy();
    this.line?.close();
    this.line = undefined;
    this.agent = new Agent({ keepAlive: true, maxSockets: 64 });
    this.child.kill('SIGKILL');
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'exit');
  }

  /** Processor time of all its threads so far, µs; the kernel counts it in hundredths of a second. */
  cpu() {
    const fields = readFileSync(`/proc/${this.child.pid}/stat`, 'utf8').split(') ')[1].split(' ');
    return (Number(fields[11]) + Number(fields[12])) * 10_000;
  }

  /** One change, on a connection that is kept. */
  change(name, serial) {
    this.line ??= new Line(this);
    return this.line.send(this.changeRequest(name, serial));
  }

  rss() {
    return Number(/^VmRSS:\s+(\d+)/mu.exec(readFileSync(`/proc/${this.child.pid}/status`, 'utf8'))[1]) / 1024;
  }
}

class Edge extends Side {
  command() {
    const args = [
      'apiserver',
      '--data-dir',
      this.dir,
      '--listen',
      `127.0.0.1:${this.port}`,
      '--insecure-http',
    ];
    return { command: join(root, 'dist/edge'), args: [...args, '--node', 'node-1'] };
  }
  read = (name) => send(this, 'GET', `${ROUTERS}/${name}`);
  create = (name, serial) => send(this, 'POST', ROUTERS, body(name, serial));
  changeRequest = (name, serial) => patchText(this, name, serial);
  list = () => send(this, 'GET', ROUTERS);
  watch = (name, onText) =>
    stream(this, 'GET', `${ROUTERS}?watch=true&resourceVersion=${this.revision}`, undefined, onText);
  async mark() {
    this.revision = JSON.parse(await send(this, 'GET', `${ROUTERS}?limit=1`)).metadata.resourceVersion;
  }
}

class Etcd extends Side {
  command() {
    const [client, peer] = [`http://127.0.0.1:${this.port}`, `http://127.0.0.1:${this.peerPort}`];
    const args = [
      '--data-dir',
      this.dir,
      '--listen-client-urls',
      client,
      '--advertise-client-urls',
      client,
      '--listen-peer-urls',
      peer,
      '--initial-advertise-peer-urls',
      peer,
      '--initial-cluster',
      `default=${peer}`,
      '--log-level',
      'error',
    ];
    return { command: 'etcd', args };
  }
  read = (name) => send(this, 'POST', '/v3/kv/range', { key: base64(`/routers/${name}`) });
  create = (name, serial) =>
    send(this, 'POST', '/v3/kv/put', {
      key: base64(`/routers/${name}`),
      value: base64(JSON.stringify(body(name, serial))),
    });
  changeRequest = (name, serial) =>
    requestText('POST', '/v3/kv/put', 'application/json', {
      key: base64(`/routers/${name}`),
      value: base64(JSON.stringify(body(name, serial))),
    });
  list = () =>
    send(this, 'POST', '/v3/kv/range', { key: base64('/routers/'), range_end: base64('/routers0') });
  watch = (name, onText) =>
    stream(
      this,
      'POST',
      '/v3/watch',
      { create_request: { key: base64('/routers/'), range_end: base64('/routers0') } },
      onText,
    );
  mark = () => Promise.resolve();
}

/** No API at all: what HTTP and the sync take in Node. */
class Bare extends Side {
  command() {
    return {
      command: process.execPath,
      args: [join(root, 'bench/journal-server.mjs'), String(this.port), this.dir],
    };
  }
  read = () => send(this, 'GET', '/');
  create = () => Promise.resolve();
  changeRequest = (name, serial) => patchText(this, name, serial);
}

/** A kube-apiserver that runs already, with our CRDs in it: what does the same work, over an etcd of its own. */
class Kube {
  name = 'kube';
  isTls = true;

  constructor(url) {
    const { hostname, port, username } = new URL(url);
    Object.assign(this, { host: hostname, port: Number(port), authorization: `Bearer ${username}` });
  }

  changeRequest = (name, serial) => patchText(this, name, serial);

  async prepare() {
    const line = new Line(this);
    for (let at = 0; at < 32; at++) {
      await line
        .send(requestText('DELETE', `${ROUTERS}/bench-${at}`, 'application/json', {}, this.authorization))
        .catch(() => {});
      await line.send(
        requestText('POST', ROUTERS, 'application/json', body(`bench-${at}`, 0), this.authorization),
      );
    }
    line.close();
  }
}

let serial = 0;

/** Writes for a while; says how many there were, and the server's processor time in µs where it was started here. */
async function writes(side, writers, seconds = SECONDS) {
  const lines = Array.from({ length: writers }, () => new Line(side));
  const before = side.cpu?.() ?? 0;
  const end = performance.now() + seconds * 1000;
  let count = 0;
  await Promise.all(
    lines.map(async (line, writer) => {
      while (performance.now() < end) {
        await line.send(side.changeRequest(`bench-${writer}`, ++serial));
        count++;
      }
    }),
  );
  for (const line of lines) line.close();
  return { count, cpu: (side.cpu?.() ?? Number.NaN) - before };
}

/** One round of writes into the table. */
async function measureWrites(side, writers) {
  const { count, cpu } = await writes(side, writers);
  add(`durable writes/s, ${named(writers)}`, side, count / SECONDS);
  add(`processor time a write, ${named(writers)}, µs`, side, cpu / count);
}

const named = (writers) => (writers === 1 ? '1 writer' : `${writers} writers`);

const sorted = (values) => values.toSorted((a, b) => a - b);
const median = (values) => sorted(values)[Math.floor(values.length / 2)];

async function delivery(side) {
  await side.mark();
  let arrived = 0;
  let wake = () => {};
  const watches = await Promise.all(
    Array.from({ length: WATCHERS }, () => {
      let tail = '';
      return side.watch('', (text) => {
        // an event is one line; etcd's first one only says that the watch stands
        const lines = (tail + text).split('\n');
        tail = lines.pop();
        arrived += lines.filter((line) => line.includes('"kv"') || line.includes('"object"')).length;
        wake();
      });
    }),
  );
  await new Promise((resolve) => setTimeout(resolve, 300));
  const times = [];
  for (let at = 0; at < WATCHED_WRITES; at++) {
    arrived = 0;
    let acknowledgedAt = 0;
    const all = new Promise((resolve) => {
      wake = () => arrived >= WATCHERS && resolve(performance.now());
    });
    await side.change('bench-0', ++serial);
    acknowledgedAt = performance.now();
    times.push(Math.max(0, (await all) - acknowledgedAt));
  }
  for (const watch of watches) watch.destroy();
  return sorted(times)[Math.floor(times.length * 0.99)];
}

async function lists(side) {
  const times = [];
  for (let at = 0; at < 7; at++) {
    const startedAt = performance.now();
    await side.list();
    times.push(performance.now() - startedAt);
  }
  return median(times);
}

async function fill(side) {
  let next = 32;
  await Promise.all(
    Array.from({ length: 32 }, async () => {
      while (next < OBJECTS) await side.create(`bench-${next++}`, ++serial);
    }),
  );
}

const dir = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), 'edge-bench-'));
const ports = await freePorts(4);
const etcd = new Etcd('etcd', join(dir, 'etcd'), ports[0]);
etcd.peerPort = ports[2];
const edge = new Edge('edge', join(dir, 'edge'), ports[1]);
const bare = new Bare('bare', join(dir, 'bare'), ports[3]);
const sides = [edge, etcd];
const reference = process.env.EDGE_TEST_KUBE_APISERVER;
const kube = reference === undefined ? undefined : new Kube(reference);
const writing = [...sides, bare, ...(kube === undefined ? [] : [kube])];
const results = {};
const add = (what, side, value) => ((results[what] ??= {})[side.name] ??= []).push(value);
try {
  for (const side of [...sides, bare]) await side.start();
  for (const side of sides) for (let at = 0; at < 32; at++) await side.create(`bench-${at}`, 0);
  await kube?.prepare();
  for (const side of writing) await writes(side, 32, WARM_UP_SECONDS);
  for (let round = 0; round < ROUNDS; round++) {
    for (const side of writing) await measureWrites(side, 1);
    for (const side of writing) await measureWrites(side, 32);
    console.error(`writes: round ${round + 1} of ${ROUNDS}`);
  }
  await bare.kill();
  for (const side of sides) await fill(side);
  console.error(`${OBJECTS} objects stored`);
  for (let round = 0; round < ROUNDS; round++) {
    for (const side of sides) add(`list of ${OBJECTS} objects, ms`, side, await lists(side));
    for (const side of sides) add(`acknowledged to ${WATCHERS} watchers, p99 ms`, side, await delivery(side));
  }
  for (const side of sides) add(`RSS with ${OBJECTS} objects, MiB`, side, side.rss());
  for (let round = 0; round < ROUNDS; round++) {
    for (const side of sides) {
      await side.kill();
      add('kill -9 to first answer, ms', side, await side.start());
    }
  }
  for (const side of sides) add('RSS after the restart, MiB', side, side.rss());
} finally {
  for (const side of [...sides, bare]) await side.kill();
  rmSync(dir, { recursive: true, force: true });
}
const version = execFileSync('etcd', ['--version'], { encoding: 'utf8' }).split('\n')[0];
const format = (value) => (Number.isNaN(value) ? '–' : value >= 100 ? Math.round(value) : value.toFixed(1));
console.log(
  `| what | edge | etcd | edge / etcd | bare Node | kube-apiserver | better is |\n| --- | --- | --- | --- | --- | --- | --- |`,
);
for (const [what, { edge: ours, etcd: theirs, bare: floor, kube: reference }] of Object.entries(results)) {
  const [a, b] = [median(ours), median(theirs)];
  const others = [floor, reference].map((values) => (values === undefined ? '–' : format(median(values))));
  // of each round, in which both had the same machine
  const ratios = sorted(ours.map((value, at) => value / theirs[at])).map((ratio) => ratio.toFixed(2));
  const spread = ratios.length === 1 ? '' : ` (${ratios[0]} to ${ratios.at(-1)})`;
  console.log(
    `| ${what} | ${format(a)} | ${format(b)} | ${(a / b).toFixed(2)}${spread} | ${others.join(' | ')} | ${what.includes('/s') ? 'more' : 'less'} |`,
  );
}
console.log(`\n${version}, Node ${process.version}, medians of ${ROUNDS} rounds`);
