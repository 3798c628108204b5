/** A path that is gone without a sign, as a radio link's is. */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { listenTcp } from './frp-pair.ts';
import type { Cleanup } from './frp-pair.ts';

/** Starts a relay in front of a port of loopback that can stop forwarding: both ends believe that they are connected. */
export async function startBlackHole(t: Cleanup, port: number): Promise<{ port: number; hold(): void }> {
  const pairs: [Socket, Socket][] = [];
  const relayPort = await listenTcp(t, (socket) => {
    const upstream = connect({ port, host: '127.0.0.1' });
    t.after(() => {
      upstream.destroy();
    });
    upstream.on('error', () => {}); // the server cuts it
    socket.pipe(upstream);
    upstream.pipe(socket);
    pairs.push([socket, upstream]);
  });
  return {
    port: relayPort,
    hold: () => {
      for (const [socket, upstream] of pairs.splice(0)) {
        socket.unpipe(upstream);
        upstream.unpipe(socket);
        socket.pause();
        upstream.pause();
      }
    },
  };
}
