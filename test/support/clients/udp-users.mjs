// Asks a DNS server behind a name from many sockets, as many users would: `udp-users.mjs HOST PORT NAME USERS`. A user
// that hears nothing asks again. Prints `{ answered, users, again }` as JSON.
import { createSocket } from 'node:dgram';
import { lookup } from 'node:dns/promises';
import { createRequire } from 'node:module';

// As CommonJS it is: an import would bring Node's types to the linter for all scripts.
const packet = createRequire(import.meta.url)('dns-packet');

const [host = '', port = '', name = '', users = ''] = process.argv.slice(2);
/** Users that wait for their answer at once: fewer than the datagrams that are kept for one service. */
const AT_ONCE = 100;
const ASK_AGAIN_MS = 1000;
const GIVE_UP_MS = 20_000;
/** Each user has a port of its own, below those that Linux hands out. */
const FIRST_PORT = 20_000;

const { address } = await lookup(host, { family: 4 });
const left = Array.from({ length: Number(users) }, (_, id) => id);
let answered = 0;
let again = 0;

async function beUser(id) {
  const socket = createSocket('udp4');
  const question = packet.encode({
    type: 'query',
    id,
    flags: packet.RECURSION_DESIRED,
    questions: [{ type: 'A', name }],
  });
  const ask = () => socket.send(question, Number(port), address);
  const isAnswered = await new Promise((resolve) => {
    const repeat = setInterval(() => {
      again++;
      ask();
    }, ASK_AGAIN_MS);
    const limit = setTimeout(resolve, GIVE_UP_MS, false);
    socket.on('message', (bytes) => {
      const answer = packet.decode(bytes);
      if (answer.id !== id || answer.answers.length === 0) return;
      clearInterval(repeat);
      clearTimeout(limit);
      resolve(true);
    });
    socket.bind(FIRST_PORT + id, ask);
  });
  if (isAnswered) answered++;
  socket.close();
}

const work = async () => {
  for (let id = left.pop(); id !== undefined; id = left.pop()) await beUser(id);
};
await Promise.all(Array.from({ length: AT_ONCE }, work));
console.log(JSON.stringify({ answered, users: Number(users), again }));
process.exit(0);
