// Sends as fast as it can to whoever connects: `node source.mjs`. Prints its port.
import { createServer } from 'node:net';

/** Large enough that system calls do not count, small enough to stay in the processor's cache. */
const CHUNK = Buffer.alloc(256 * 1024, 'edge');

const server = createServer({ noDelay: true }, (socket) => {
  const send = () => {
    while (socket.writable && socket.write(CHUNK));
  };
  socket.on('drain', send);
  socket.on('error', () => {}); // the sink stops in the middle of the stream
  send();
});
server.listen(0, '127.0.0.1', () => console.log(`port ${server.address().port}`));
process.on('SIGTERM', () => process.exit(0));
