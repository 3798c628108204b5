// Resolves names as musl's getaddrinfo does (Alpine), by /etc/resolv.conf: A and AAAA at once from one socket, the search
// list before the name itself when it has fewer dots than ndots, only NXDOMAIN leads on to the next suffix, and SERVFAIL
// ends the search. Prints a JSON line for each name: `{ name, addresses }` or `{ name, error }`, and its milliseconds.
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// As CommonJS it is: an import would bring Node's types to the linter for all scripts.
const packet = createRequire(import.meta.url)('dns-packet');

/** musl's defaults: two tries within five seconds. */
const ATTEMPTS = 2;
const TIMEOUT_MS = 5000;
const RCODE = { noError: 0, serverFailure: 2, nameError: 3 };

const words = readFileSync('/etc/resolv.conf', 'utf8')
  .split('\n')
  .map((line) => line.split(/\s+/u));
const server = words.find(([key]) => key === 'nameserver')?.[1] ?? '127.0.0.1';
const search = words.findLast(([key]) => key === 'search')?.slice(1) ?? [];
const ndots = Number(/ndots:(\d+)/u.exec(words.flat().join(' '))?.[1] ?? 1);

/** The answers to an A and an AAAA question that leave together; undefined for one that never came. */
function askBoth(name) {
  const socket = createSocket('udp4');
  const base = Math.floor(Math.random() * 60_000);
  const questions = ['A', 'AAAA'].map((type, at) => ({ type, id: base + at }));
  const answers = [undefined, undefined];
  return new Promise((resolve) => {
    const send = (at) => {
      const { id, type } = questions[at];
      const message = { type: 'query', id, flags: packet.RECURSION_DESIRED, questions: [{ type, name }] };
      socket.send(packet.encode(message), 53, server);
    };
    const sendMissing = () => answers.forEach((answer, at) => answer ?? send(at));
    const retry = setInterval(sendMissing, TIMEOUT_MS / ATTEMPTS);
    const end = () => {
      clearInterval(retry);
      clearTimeout(limit);
      socket.close();
      resolve(answers);
    };
    const limit = setTimeout(end, TIMEOUT_MS);
    let serverFailures = 0;
    socket.on('message', (bytes) => {
      const answer = packet.decode(bytes);
      const at = questions.findIndex(({ id }) => id === answer.id);
      if (at === -1 || answers[at] !== undefined) return;
      const rcode = bytes[3] & 15;
      if (rcode === RCODE.serverFailure && serverFailures++ < ATTEMPTS) return send(at);
      // Anything else, REFUSED for one, is as good as no answer.
      if (!Object.values(RCODE).includes(rcode)) return undefined;
      answers[at] = {
        rcode,
        addresses: answer.answers.filter(({ type }) => type === 'A' || type === 'AAAA'),
      };
      if (answers.every((each) => each !== undefined)) end();
      return undefined;
    });
    sendMissing();
  });
}

/** The addresses of one whole name; undefined when there is no such name, so that the search goes on. */
async function lookUp(name) {
  const answers = await askBoth(name);
  if (answers.some((answer) => answer === undefined || answer.rcode === RCODE.serverFailure))
    throw new Error('EAI_AGAIN');
  // One of the two suffices: a server that denies the name for AAAA alone hides its addresses.
  if (answers.some((answer) => answer.rcode === RCODE.nameError)) return undefined;
  const addresses = answers.flatMap((answer) => answer.addresses.map(({ data }) => data));
  if (addresses.length > 0) return addresses;
  throw new Error('EAI_NODATA');
}

async function getAddrInfo(name) {
  const dots = name.split('.').length - 1;
  const suffixes = dots >= ndots || name.endsWith('.') ? [] : search;
  for (const suffix of suffixes) {
    const addresses = await lookUp(`${name}.${suffix}`);
    if (addresses !== undefined) return addresses;
  }
  const addresses = await lookUp(name);
  if (addresses === undefined) throw new Error('EAI_NONAME');
  return addresses;
}

for (const name of process.argv.slice(2)) {
  const start = performance.now();
  const result = await getAddrInfo(name).then(
    (addresses) => ({ addresses }),
    (err) => ({ error: err.message }),
  );
  console.log(JSON.stringify({ name, ...result, ms: Math.round(performance.now() - start) }));
}
