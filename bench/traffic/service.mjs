// The service that every path leads to: `node service.mjs [PORT]`. Prints its port. What the client's first byte is decides
// what it gets: "B" bulk data as fast as it goes, anything else its own bytes back.
import { createServer } from 'node:net';

/** Large enough that system calls do not count, small enough to stay in the processor's cache. */
const CHUNK = Buffer.alloc(256 * 1024, 'edge');
const BULK = 'B'.charCodeAt(0);
const BACKLOG = 4096;

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {}); // clients stop in the middle
  socket.once('data', (first) => {
    if (first[0] === BULK) {
      sendBulk(socket);
      return;
    }
    socket.on('data', (data) => socket.write(data));
    socket.write(first);
  });
});

function sendBulk(socket) {
  const send = () => {
    while (socket.writable && socket.write(CHUNK));
  };
  socket.on('drain', send);
  send();
}

server.listen({ port: Number(process.argv[2] ?? 0), host: '127.0.0.1', backlog: BACKLOG }, () =>
  console.log(`port ${server.address().port}`),
);
process.on('SIGTERM', () => process.exit(0));
