// Opens a connection, sends a byte, waits for its echo, ends it, and again, some at once:
// `node connections.mjs HOST PORT CONCURRENCY SECONDS`. Prints how many were completed.
import { connect } from 'node:net';

const WARM_UP_MS = 500;
const [host, port, concurrency, seconds] = process.argv.slice(2);
let completed = 0;
let failed = 0;
let isOver = false;

function once() {
  return new Promise((resolve) => {
    let isAnswered = false;
    const socket = connect({ host, port: Number(port), noDelay: true }, () => socket.write('e'));
    socket.once('data', () => {
      isAnswered = true;
      socket.end();
    });
    socket.on('error', () => {}); // counted at the close
    socket.on('close', () => {
      if (isAnswered) completed++;
      else failed++;
      resolve();
    });
  });
}

async function work() {
  while (!isOver) await once();
}

const workers = Array.from({ length: Number(concurrency) }, work);
await new Promise((resolve) => setTimeout(resolve, WARM_UP_MS));
const [startCompleted, startedAt] = [completed, performance.now()];
console.log('begin');
await new Promise((resolve) => setTimeout(resolve, Number(seconds) * 1000));
const result = {
  connections: completed - startCompleted,
  failed,
  seconds: (performance.now() - startedAt) / 1000,
};
console.log('end');
isOver = true;
await Promise.all(workers);
console.log(JSON.stringify(result));
process.exit(0);
