// The API server beside etcd, in one run on one disk: durable writes, a long list, watch delivery, memory, restart.
// `node bench/apiserver.mjs`; etcd's HTTP gateway stands for etcd, so that one Node client drives both sides alike.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../scripts/demo/ports.mjs';

const root = join(import.meta.dirname, '..');
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 3);
const SECONDS = Number(process.env.BENCH_SECONDS ?? 2);
const OBJECTS = Number(process.env.BENCH_OBJECTS ?? 10_000);
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
    this.agent = new Agent({ keepAlive: true, maxSockets: 64 });
    this.child.kill('SIGKILL');
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'exit');
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
    return { command: process.execPath, args: [join(root, 'dist/edge'), ...args, '--node', 'node-1'] };
  }
  read = (name) => send(this, 'GET', `${ROUTERS}/${name}`);
  create = (name, serial) => send(this, 'POST', ROUTERS, body(name, serial));
  change = (name, serial) => {
    // a merge patch would be shorter, but etcd's put carries the whole object too
    const patch = body(name, serial);
    return new Promise((resolve, reject) => {
      const text = JSON.stringify(patch);
      const headers = {
        'content-type': 'application/merge-patch+json',
        'content-length': Buffer.byteLength(text),
      };
      const options = {
        host: '127.0.0.1',
        port: this.port,
        method: 'PATCH',
        path: `${ROUTERS}/${name}`,
        headers,
        agent: this.agent,
      };
      const outgoing = request(options, (response) => {
        response
          .resume()
          .on('end', () =>
            response.statusCode < 300 ? resolve() : reject(new Error(String(response.statusCode))),
          );
      });
      outgoing.on('error', reject);
      outgoing.end(text);
    });
  };
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
  change = (name, serial) => this.create(name, serial);
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

let serial = 0;

async function writes(side, writers) {
  const end = performance.now() + SECONDS * 1000;
  let count = 0;
  await Promise.all(
    Array.from({ length: writers }, async (_, writer) => {
      while (performance.now() < end) {
        await side.change(`bench-${writer}`, ++serial);
        count++;
      }
    }),
  );
  return count / SECONDS;
}

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
const ports = await freePorts(3);
const etcd = new Etcd('etcd', join(dir, 'etcd'), ports[0]);
etcd.peerPort = ports[2];
const edge = new Edge('edge', join(dir, 'edge'), ports[1]);
const sides = [edge, etcd];
const results = {};
const add = (what, side, value) => ((results[what] ??= {})[side.name] ??= []).push(value);
try {
  for (const side of sides) await side.start();
  for (const side of sides) for (let at = 0; at < 32; at++) await side.create(`bench-${at}`, 0);
  for (let round = 0; round < ROUNDS; round++) {
    for (const side of sides) add('durable writes/s, 1 writer', side, await writes(side, 1));
    for (const side of sides) add('durable writes/s, 32 writers', side, await writes(side, 32));
    console.error(`writes: round ${round + 1} of ${ROUNDS}`);
  }
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
  for (const side of sides) await side.kill();
  rmSync(dir, { recursive: true, force: true });
}
const version = execFileSync('etcd', ['--version'], { encoding: 'utf8' }).split('\n')[0];
const format = (value) => (value >= 100 ? Math.round(value) : value.toFixed(1));
console.log(`| what | edge | etcd | edge / etcd | better is |\n| --- | --- | --- | --- | --- |`);
for (const [what, { edge: ours, etcd: theirs }] of Object.entries(results)) {
  const [a, b] = [median(ours), median(theirs)];
  console.log(
    `| ${what} | ${format(a)} | ${format(b)} | ${(a / b).toFixed(2)} | ${what.includes('/s') ? 'more' : 'less'} |`,
  );
}
console.log(`\n${version}, Node ${process.version}, medians of ${ROUNDS} rounds`);
