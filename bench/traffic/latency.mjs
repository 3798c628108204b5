// Asks and waits for the answer, one small request after the other on one connection: `node latency.mjs HOST PORT SECONDS`.
// Prints the round trips' percentiles, microseconds.
import { connect } from 'node:net';

const REQUEST = Buffer.alloc(128, 'e');
const WARM_UP_MS = 300;
const [host, port, seconds] = process.argv.slice(2);

const times = [];
let received = 0;
let sentAt = 0;
const warmUntil = performance.now() + WARM_UP_MS;
const until = warmUntil + Number(seconds) * 1000;
let hasBegun = false;

const socket = connect({ host, port: Number(port), noDelay: true }, ask);
socket.on('error', (err) => {
  throw err;
});
socket.on('data', (data) => {
  received += data.length;
  if (received < REQUEST.length) return;
  const now = performance.now();
  if (now > warmUntil) {
    if (!hasBegun) console.log('begin');
    hasBegun = true;
    times.push(now - sentAt);
  }
  if (now < until) ask();
  else report();
});

function ask() {
  received = 0;
  sentAt = performance.now();
  socket.write(REQUEST);
}

function report() {
  console.log('end');
  socket.destroy();
  times.sort((a, b) => a - b);
  const at = (share) => (times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0) * 1000;
  console.log(JSON.stringify({ p50: at(0.5), p99: at(0.99), requests: times.length }));
}
