// What `npm run demo -- --check` verifies: names, bytes both ways, many requests at once, and what survives a crash.
import { createHash } from 'node:crypto';
import { Resolver } from 'node:dns/promises';
import { Agent, request } from 'node:http';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { fileChunks, sha256Of } from './content.mjs';
import { ctl, getRouter } from './nodes.mjs';
import { PATIENCE_MS, until } from './wait.mjs';

const BULK_BYTES = 64 * 1024 * 1024;
const CONCURRENT = 200;
/** One exchange may take this long: a parked connection waits 5 s, and 64 MiB need a moment. */
const EXCHANGE_MS = 60_000;
/** Asks the sidecar's DNS, as an application in the pod would; resolves with the address. */
export async function resolveName(dns, name) {
  const resolver = new Resolver({ timeout: 2000, tries: 2 });
  resolver.setServers([`${dns.host}:${dns.port}`]);
  const [address] = await resolver.resolve4(name);
  return address;
}

/** Sends one request and resolves with status, length and SHA-256 of the answer, and its text when it is short. */
function exchange(target, { path, method = 'GET', body, agent, limitMs = EXCHANGE_MS }) {
  return new Promise((resolve, reject) => {
    const outgoing = request({ ...target, path, method, agent: agent ?? false }, (response) => {
      const hash = createHash('sha256');
      let bytes = 0;
      let text = '';
      response.on('data', (chunk) => {
        hash.update(chunk);
        bytes += chunk.length;
        if (bytes < 1024) text += chunk;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode, bytes, text, sha256: hash.digest('hex') }),
      );
      response.on('error', reject);
    });
    outgoing.setTimeout(limitMs, () => outgoing.destroy(new Error(`no answer within ${limitMs / 1000} s`)));
    outgoing.on('error', reject);
    if (body === undefined) outgoing.end();
    else pipeline(body, outgoing).catch(reject);
  });
}

function assert(isTrue, why) {
  if (!isTrue) throw new Error(why);
}

const mbitPerSecond = (bytes, sinceMs) =>
  `${Math.round((bytes * 8) / 1000 / (performance.now() - sinceMs))} Mbit/s`;

async function download(target) {
  const startedAt = performance.now();
  const { status, bytes, sha256 } = await exchange(target, { path: `/file?size=${BULK_BYTES}` });
  assert(status === 200 && bytes === BULK_BYTES, `status ${status}, ${bytes} of ${BULK_BYTES} bytes`);
  assert(sha256 === sha256Of(BULK_BYTES), 'the SHA-256 is not that of the file');
  return mbitPerSecond(BULK_BYTES, startedAt);
}

async function upload(target) {
  const startedAt = performance.now();
  const body = Readable.from(fileChunks(BULK_BYTES));
  const { status, text } = await exchange(target, { path: '/upload', method: 'POST', body });
  assert(status === 200, `status ${status}`);
  assert(text.trim() === sha256Of(BULK_BYTES), 'the service received other bytes than were sent');
  return mbitPerSecond(BULK_BYTES, startedAt);
}

async function manyRequests(target) {
  const agent = new Agent({ maxSockets: CONCURRENT });
  const one = async (index) => {
    const size = 1000 + index;
    const answer = await exchange(target, { path: `/file?size=${size}`, agent });
    return answer.status === 200 && answer.sha256 === sha256Of(size);
  };
  const results = await Promise.allSettled(Array.from({ length: CONCURRENT }, (_, index) => one(index)));
  agent.destroy();
  const good = results.filter(({ status, value }) => status === 'fulfilled' && value);
  const failure = results.find(({ status }) => status === 'rejected');
  const why = failure === undefined ? 'wrong content' : failure.reason.message;
  assert(good.length === CONCURRENT, `${CONCURRENT - good.length} of ${CONCURRENT} failed: ${why}`);
  return `${good.length} answers`;
}

/** One connection, one command of Redis's inline protocol. */
function redisPing({ host, port }) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, timeout: 10_000 }, () => socket.write('PING\r\n'));
    socket.on('timeout', () => socket.destroy(new Error('no answer within 10 s')));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed without an answer')));
    socket.once('data', (data) => {
      const answer = data.toString().trim();
      socket.end();
      if (answer === '+PONG') resolve(answer);
      else reject(new Error(`answered ${answer}`));
    });
  });
}

/** A new connection to the service gets its answer, sooner or later. */
async function serviceAnswers(target) {
  const startedAt = performance.now();
  await until('the service answers', PATIENCE_MS, async () => {
    const { status, text } = await exchange(target, { path: '/', limitMs: 7000 });
    return status === 200 && text.startsWith('hello');
  });
  return `answered after ${Math.round(performance.now() - startedAt)} ms`;
}

async function routersOf(node) {
  return JSON.parse(await ctl(node, ['get', 'routers', '-o', 'json'])).items;
}

async function mirrorIsListed(node, peer) {
  const routers = await routersOf(node);
  const mirror = routers.find(({ metadata }) => metadata.name === peer.name);
  assert(mirror !== undefined, `${node.name} has no Router ${peer.name}`);
  const origin = mirror.metadata.annotations?.['edge.example.com/origin'];
  assert(origin === peer.name, `the origin of the mirror is ${origin}`);
  return `origin ${origin}`;
}

async function survivesApiserver(demo) {
  const { processes, nodes, files } = demo;
  const before = await routersOf(nodes[0]);
  const underWay = download(files);
  underWay.catch(() => {}); // looked at below
  const crashed = await processes.crash(`apiserver on ${nodes[0].name}`);
  await serviceAnswers(files);
  await underWay;
  await processes.restart(crashed);
  await serviceAnswers(files);
  const after = await routersOf(nodes[0]);
  const uids = (routers) => routers.map(({ metadata }) => `${metadata.name} ${metadata.uid}`).join();
  assert(uids(after) === uids(before), `objects changed: ${uids(before)} before, ${uids(after)} after`);
  return `${after.length} objects came back`;
}

async function survivesRouter(demo) {
  const { processes, nodes, files } = demo;
  const crashed = await processes.crash(`router on ${nodes[1].name}`);
  const note = await serviceAnswers(files);
  await processes.restart(crashed);
  await until(
    `${nodes[0].name} sees the provider at ${nodes[1].name}'s Router again`,
    PATIENCE_MS,
    async () => {
      const { status } = await getRouter(nodes[0], nodes[1].name);
      const service = (status?.activeServices ?? []).find(({ name }) => name === 'files');
      return (service?.providers ?? []).some(({ ready }) => ready);
    },
  );
  await serviceAnswers(files);
  return note;
}

async function nameResolves(dns) {
  const address = await resolveName(dns, 'files.default.svc');
  assert(/^127\.0\.66\.\d+$/u.test(address), `${address} is not in 127.0.66.0/24`);
  return address;
}

/** The checks of a running demo, in order; each throws, or resolves with a note. */
export function listChecks(demo) {
  const [near, far] = demo.nodes;
  const { dns, files, redis } = demo;
  return [
    { title: 'files.default.svc resolves inside 127.0.66.0/24', run: () => nameResolves(dns) },
    { title: '64 MiB come down unharmed', run: () => download(files) },
    { title: '64 MiB go up unharmed', run: () => upload(files) },
    { title: `${CONCURRENT} requests at once succeed`, run: () => manyRequests(files) },
    ...(redis === undefined ? [] : [{ title: 'Redis answers PING', run: () => redisPing(redis) }]),
    { title: `${near.name} lists ${far.name}'s Router as a mirror`, run: () => mirrorIsListed(near, far) },
    {
      title: `the service answers while ${near.name}'s apiserver is killed and restarted`,
      run: () => survivesApiserver(demo),
    },
    {
      title: `the service answers after ${far.name}'s Router is killed, and once it is back`,
      run: () => survivesRouter(demo),
    },
    { title: '64 MiB come down unharmed after all that', run: () => download(files) },
  ];
}
