/** The UDP side: one socket bound to one address, so that replies come from the address that was asked. */
import { createSocket } from 'node:dgram';
import { isIPv6 } from 'node:net';
import { isLoopbackHost } from '../lib/address.ts';
import { errorMessage } from '../lib/errors.ts';
import type { HostPort } from '../lib/address.ts';
import type { Logger } from '../lib/log.ts';
import type { Counters } from './counters.ts';
import type { Responder } from './responder.ts';

/** What a listener needs. */
export interface ListenerOptions {
  responder: Responder;
  counters: Counters;
  log: Logger;
  /** Answer clients elsewhere too. */
  allowRemoteClients: boolean;
  /** Told of a client elsewhere that is not answered. */
  onRemote: (address: string) => void;
}

/** A bound UDP listener. */
export interface UdpListener {
  readonly port: number;
  /** Resolves once the socket is gone; answers that are still owed are dropped. */
  close(): Promise<void>;
}

/** Binds and serves; rejects with the system's error. */
export function listenUdp(address: HostPort, options: ListenerOptions): Promise<UdpListener> {
  const { responder, counters, log, allowRemoteClients, onRemote } = options;
  const isSix = isIPv6(address.host);
  const socket = createSocket({
    type: isSix ? 'udp6' : 'udp4',
    ipv6Only: isSix,
    // Peers are addresses already; the default lookup would cost a turn of the event loop for each answer.
    lookup: (host, _options, done) => done(null, host, isSix ? 6 : 4),
  });
  let isClosed = false;
  socket.on('message', (bytes, peer) => {
    if (!allowRemoteClients && !isLocal(peer.address)) {
      counters.dropped += 1;
      onRemote(peer.address);
      return;
    }
    // Port 0 cannot be answered; a spoofed one would make send() throw.
    if (peer.port === 0) {
      counters.dropped += 1;
      return;
    }
    const answer = responder.respond(bytes, 'udp');
    if (answer === undefined) return;
    if (!(answer instanceof Promise)) {
      socket.send(answer, peer.port, peer.address);
      return;
    }
    void answer.then((late) => {
      if (!isClosed) socket.send(late, peer.port, peer.address);
    });
  });
  const close = (): Promise<void> => {
    isClosed = true; // before the event says so: send() throws from now on
    return new Promise((resolve) => {
      socket.close(() => resolve());
    });
  };
  return new Promise((resolve, reject) => {
    const onBindError = (cause: Error): void => {
      isClosed = true;
      socket.close(() => reject(cause));
    };
    socket.once('error', onBindError);
    socket.bind({ address: address.host, port: address.port }, () => {
      socket.removeListener('error', onBindError);
      socket.on('error', (err) => log.warn('dns udp socket failed', { error: errorMessage(err) }));
      resolve({ port: socket.address().port, close });
    });
  });
}

// Nearly every client is the one named first; the general check reads the address with a regular expression.
function isLocal(address: string): boolean {
  return address === '127.0.0.1' || isLoopbackHost(address);
}
