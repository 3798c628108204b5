/** One question to one upstream over UDP or TCP: a fresh socket each, so the kernel picks an unpredictable port (RFC 5452 9.2). */
import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import { EdgeError } from '../lib/errors.ts';
import { frame, FrameReader } from './framing.ts';
import type { HostPort } from '../lib/address.ts';

/** Says whether bytes are the answer; others are ignored and the wait goes on. */
export type Accept = (answer: Buffer) => boolean;

type Exchange = (upstream: HostPort, message: Buffer, accept: Accept, signal: AbortSignal) => Promise<Buffer>;

/** Asks over UDP. Rejects with a socket error or EDGE_ERR_DNS_TIMEOUT on abort; the socket is closed either way. */
export const exchangeUdp: Exchange = (upstream, message, accept, signal) =>
  new Promise((resolve, reject) => {
    // Connected: the kernel drops datagrams from other addresses and reports a closed port at once.
    const socket = createSocket(isIPv6(upstream.host) ? 'udp6' : 'udp4');
    const finish = (settle: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      socket.removeAllListeners('message');
      socket.removeListener('error', onError);
      socket.on('error', () => {}); // late ICMP errors of a closing socket are nobody's
      socket.close();
      settle();
    };
    const onAbort = (): void => finish(() => reject(timeout(upstream)));
    const onError = (err: Error): void => finish(() => reject(err));
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('error', onError);
    socket.on('message', (answer) => {
      if (accept(answer)) finish(() => resolve(answer));
    });
    socket.connect(upstream.port, upstream.host, () => {
      if (!signal.aborted) socket.send(message);
    });
  });

/** Asks over TCP; see exchangeUdp. */
export const exchangeTcp: Exchange = (upstream, message, accept, signal) =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: upstream.host, port: upstream.port });
    const reader = new FrameReader();
    const finish = (settle: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      socket.removeAllListeners('data');
      socket.destroy();
      settle();
    };
    const onAbort = (): void => finish(() => reject(timeout(upstream)));
    socket.on('error', (err) => finish(() => reject(err)));
    if (signal.aborted) {
      onAbort();
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    socket.on('close', () => finish(() => reject(closed(upstream))));
    socket.on('connect', () => socket.write(frame(message)));
    socket.on('data', (chunk) => {
      const answer = reader.push(chunk).find((candidate) => accept(candidate));
      if (answer !== undefined) finish(() => resolve(answer));
    });
  });

function timeout(upstream: HostPort): EdgeError {
  return new EdgeError('EDGE_ERR_DNS_TIMEOUT', `ask ${upstream.host}:${upstream.port}: no answer in time`, {
    retryable: true,
  });
}

function closed(upstream: HostPort): EdgeError {
  return new EdgeError(
    'EDGE_ERR_DNS_UPSTREAM',
    `ask ${upstream.host}:${upstream.port}: closed without an answer`,
    {
      retryable: true,
    },
  );
}
