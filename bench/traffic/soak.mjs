// `node soak.mjs HOST PORT hold COUNT` opens COUNT connections, tries each while all are open, and closes them;
// `… rate PER_SECOND SECONDS` opens, uses and closes at a rate. Prints steps and then the figures, as JSON lines.
import { connect } from 'node:net';
import { once } from 'node:events';

/** Connections being opened at once: the path parks what comes faster, and fails what waits for too long. */
const OPENING = 200;
/** At most this many are under way at the rate; what cannot be opened meanwhile is not, which shows in the figures. */
const UNDER_WAY = 500;
const ANSWER_MS = 30_000;

const [host, port, mode, ...numbers] = process.argv.slice(2);
const [first, second] = numbers.map(Number);

/** Sends a few bytes and waits for them to come back; false when they do not. */
function exchange(socket) {
  return new Promise((resolve) => {
    const text = `e${Math.random()}`;
    let received = '';
    const done = (isGood) => {
      clearTimeout(timer);
      socket.off('data', onData).off('close', onClose);
      resolve(isGood);
    };
    const onData = (data) => {
      received += data;
      if (received.length >= text.length) done(received === text);
    };
    const onClose = () => done(false);
    const timer = setTimeout(() => done(false), ANSWER_MS);
    socket.on('data', onData).on('close', onClose);
    socket.write(text);
  });
}

function open() {
  const socket = connect({ host, port: Number(port), noDelay: true });
  socket.on('error', () => {}); // the exchange fails with the close
  return socket;
}

/** Ends a connection; true when it closes in good order. */
async function finish(socket) {
  let hasFailed = socket.destroyed;
  if (hasFailed) return false;
  socket.once('error', () => (hasFailed = true));
  socket.resume().end();
  await once(socket, 'close');
  return !hasFailed;
}

async function overAll(items, concurrency, work) {
  const waiting = items.values();
  const worker = async () => {
    for (const item of waiting) await work(item);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

async function hold(count) {
  const startedAt = performance.now();
  const sockets = Array.from({ length: count });
  let opened = 0;
  await overAll([...sockets.keys()], OPENING, async (index) => {
    sockets[index] = open();
    if (await exchange(sockets[index])) opened++;
  });
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(JSON.stringify({ step: 'open' }));
  await once(process.stdin, 'data');
  let answered = 0;
  let closed = 0;
  await overAll(sockets, OPENING, async (socket) => {
    if (await exchange(socket)) answered++;
  });
  await overAll(sockets, OPENING, async (socket) => {
    if (await finish(socket)) closed++;
  });
  return { opened, answered, closed, lost: count - Math.min(opened, answered, closed), seconds };
}

async function rate(perSecond, seconds) {
  let completed = 0;
  let failed = 0;
  let underWay = 0;
  const one = async () => {
    underWay++;
    const socket = open();
    const isGood = (await exchange(socket)) && (await finish(socket));
    if (isGood) completed++;
    else failed++;
    underWay--;
  };
  const startedAt = performance.now();
  const running = new Set();
  let begun = 0;
  for (;;) {
    const elapsed = (performance.now() - startedAt) / 1000;
    if (elapsed >= seconds) break;
    let due = Math.min(Math.floor(elapsed * perSecond) - begun, UNDER_WAY - underWay);
    for (; due > 0; due--) {
      begun++;
      const connection = one().finally(() => running.delete(connection));
      running.add(connection);
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await Promise.all(running);
  return { completed, failed, seconds: (performance.now() - startedAt) / 1000 };
}

console.log(JSON.stringify(mode === 'hold' ? await hold(first) : await rate(first, second)));
process.exit(0);
