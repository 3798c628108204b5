/** A service that sends a few random MiB, and the client that checks them: what crosses a tunnel arrives unharmed. */
import { createHash, randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { listenTcp } from './frp-pair.ts';
import type { Cleanup } from './frp-pair.ts';

const DATA = randomBytes(4 * 1024 * 1024 + 3);
/** SHA-256 of what the service sends, hexadecimal. */
export const HASH = createHash('sha256').update(DATA).digest('hex');

/** Sends the data to each connection; a frp peer closes both halves at the first end, so the service speaks first. */
export function listenData(t: Cleanup): Promise<number> {
  return listenTcp(t, (socket) => {
    socket.resume();
    socket.once('data', () => socket.end(DATA));
  });
}

/** Downloads without shutting down the own half first; resolves with the SHA-256. */
export function download(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256');
    const socket = connect({ port, host: '127.0.0.1' });
    socket.write('go');
    socket.on('data', (chunk: Buffer) => hash.update(chunk));
    socket.on('error', reject);
    socket.on('end', () => resolve(hash.digest('hex')));
  });
}
