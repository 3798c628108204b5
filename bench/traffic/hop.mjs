// One bare hop of Node: passes TCP on between its port and another, `node hop.mjs PORT TARGET`, with one read buffer a socket
// that is used again when its bytes have left. No framing, no layers: what no relay on this runtime can beat.
import { connect, createServer, Socket } from 'node:net';

const BUFFER_BYTES = 256 * 1024;
const [port, target] = process.argv.slice(2).map(Number);

/** Options of a socket whose chunks are written to `peer()`; it is not read while they wait. */
function passing(peer) {
  const buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  let socket;
  const onread = {
    buffer,
    callback: (bytes) => {
      // false stops reading until resume(), which comes when the bytes have left the buffer
      let hasLeft = false;
      let isPaused = false;
      peer().write(buffer.subarray(0, bytes), () => {
        hasLeft = true;
        if (isPaused) socket.resume();
      });
      isPaused = !hasLeft && peer().writableLength > 0;
      return !isPaused;
    },
  };
  return { onread, adopt: (made) => (socket = made) };
}

const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (accepted) => {
  const handle = accepted._handle;
  accepted._handle = null; // `onread` is not for sockets of a server: the connection moves to one of our own
  const front = passing(() => outer);
  const back = passing(() => inner);
  const inner = new Socket({ handle, allowHalfOpen: true, pauseOnCreate: true, onread: front.onread });
  const outer = connect({
    port: target,
    host: '127.0.0.1',
    allowHalfOpen: true,
    noDelay: true,
    onread: back.onread,
  });
  front.adopt(inner);
  back.adopt(outer);
  for (const [one, other] of [
    [inner, outer],
    [outer, inner],
  ]) {
    one.on('error', () => {}); // the close follows
    one.on('end', () => other.end());
    one.on('close', () => other.destroy());
  }
  inner.once('close', () => accepted.destroy());
  outer.once('connect', () => inner.resume());
});
server.listen({ port, host: '127.0.0.1', backlog: 4096 }, () => console.log(`hop at ${port}`));
process.on('SIGTERM', () => process.exit(0));
