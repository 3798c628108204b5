// Receives over some streams at once for a while: `node bulk.mjs HOST PORT STREAMS SECONDS`. Says "begin" after a warm-up,
// in which windows and buffers grow to their working size, "end" when the time is over, and then the bytes between.
import { connect } from 'node:net';

const WARM_UP_MS = 700;
const [host, port, streams, seconds] = process.argv.slice(2);
let bytes = 0;

function open() {
  return new Promise((resolve, reject) => {
    let isFirst = true;
    const onread = {
      buffer: Buffer.alloc(256 * 1024),
      callback: (count) => {
        bytes += count;
        if (isFirst) resolve(socket);
        isFirst = false;
        return true;
      },
    };
    const socket = connect({ host, port: Number(port), onread }, () => socket.write('B'));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`${host}:${port} closed the stream`)));
  });
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const sockets = await Promise.all(Array.from({ length: Number(streams) }, open));
await pause(WARM_UP_MS);
const [startBytes, startedAt] = [bytes, performance.now()];
console.log('begin');
await pause(Number(seconds) * 1000);
const result = { bytes: bytes - startBytes, seconds: (performance.now() - startedAt) / 1000 };
console.log('end');
for (const socket of sockets) socket.removeAllListeners('close').destroy();
console.log(JSON.stringify(result));
