// `node failover.mjs HOST PORT RATE LONG`: opens RATE connections a second, each for one exchange, and keeps LONG others busy.
// Each line on standard input begins a phase; "end" ends it all. Prints the figures of every phase as one JSON line.
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

/** An exchange that took longer than this was disturbed, milliseconds. */
const DISTURBED_MS = 250;
/** A connection that is not answered by then is lost: what a patient user waits. */
const LOST_MS = 10_000;
/** Between the exchanges of a long connection. */
const BEAT_MS = 100;
const TEXT = 'sixteen bytes....';

const [host, port, rate, count] = process.argv.slice(2).map((text, at) => (at === 0 ? text : Number(text)));
const phases = [];
const current = () => phases.at(-1);

function beginPhase(name) {
  phases.push({
    name,
    at: performance.now(),
    fresh: { opened: 0, lost: 0, disturbed: 0, slowestMs: 0, recoveredMs: 0 },
    long: { cut: 0, stalled: 0, recoveredMs: 0 },
  });
}

/** One exchange over a socket; rejects when it breaks, or is not answered. */
function exchange(socket) {
  return new Promise((resolve, reject) => {
    let received = 0;
    const done = (err) => {
      clearTimeout(timer);
      socket.off('data', onData).off('close', onClose);
      if (err === undefined) resolve();
      else reject(err);
    };
    const onData = (data) => {
      received += data.length;
      if (received >= TEXT.length) done();
    };
    const onClose = () => done(new Error('closed'));
    const timer = setTimeout(() => done(new Error('no answer')), LOST_MS);
    socket.on('data', onData).on('close', onClose);
    socket.write(TEXT);
  });
}

function open() {
  const socket = connect({ host, port, noDelay: true });
  socket.on('error', () => {}); // the exchange fails with the close
  return socket;
}

/** Counts for the phase in which it began, a loss for that in which it was lost. */
async function fresh() {
  const began = current();
  const startedAt = performance.now();
  const socket = open();
  began.fresh.opened++;
  let phase = began;
  let isLost = false;
  try {
    await exchange(socket);
  } catch {
    isLost = true;
    phase = current();
    phase.fresh.lost++;
  }
  socket.destroy();
  const tookMs = performance.now() - startedAt;
  const { fresh: figures } = phase;
  figures.slowestMs = Math.max(figures.slowestMs, tookMs);
  if (!isLost && tookMs <= DISTURBED_MS) return;
  if (!isLost) figures.disturbed++;
  // new connections are well again when no further one is disturbed
  figures.recoveredMs = Math.max(figures.recoveredMs, startedAt - phase.at);
}

async function long() {
  for (;;) {
    const socket = open();
    let isCut = false;
    while (!isCut) {
      const startedAt = performance.now();
      try {
        await exchange(socket);
      } catch {
        isCut = true;
        current().long.cut++;
      }
      const endedAt = performance.now();
      const phase = current();
      if (!isCut && endedAt - startedAt > DISTURBED_MS) phase.long.stalled++;
      if (isCut || endedAt - startedAt > DISTURBED_MS) phase.long.recoveredMs = endedAt - phase.at;
      await new Promise((resolve) => setTimeout(resolve, BEAT_MS));
    }
    socket.destroy();
  }
}

beginPhase('before');
for (let at = 0; at < count; at++) void long();
const startedAt = performance.now();
let begun = 0;
const running = new Set();
const ticker = setInterval(() => {
  for (; begun < ((performance.now() - startedAt) / 1000) * rate; begun++) {
    const one = fresh().finally(() => running.delete(one));
    running.add(one);
  }
}, 5);
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'end') break;
  beginPhase(line);
}
clearInterval(ticker);
await Promise.all(running);
console.log(JSON.stringify(phases));
process.exit(0);
