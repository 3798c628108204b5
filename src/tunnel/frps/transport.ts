/** Turns an accepted socket into a byte stream: recognises the peer, takes websocket and TLS off, within a time limit. */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { SecureContext } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { socketStream } from '../socket-stream.ts';
import { classifyFirstByte } from './classify.ts';

/** How connections are served. */
export interface TransportOptions {
  /** Serves HTTP; resolves with what a websocket carries. */
  upgrade(socket: Duplex): Promise<Duplex>;
  context(): Promise<SecureContext>;
  /** Client certificates are required and verified. */
  wantsClientCertificate: boolean;
  /** Connections without TLS are refused. */
  isForced: boolean;
}

/** A connection that is ready for frp. */
export interface AcceptedTransport {
  kind: 'mux' | 'message';
  stream: ByteStream;
}

/** Classifies and secures; rejects with TunnelError (protocol, timeout, closed) and leaves a destroyed socket. */
export async function acceptTransport(
  socket: Socket,
  options: TransportOptions,
  limitMs: number,
  clock: Clock,
): Promise<AcceptedTransport> {
  socket.on('error', () => {}); // reported through the rejection; between two layers nobody else listens
  const late = clock.after(limitMs, () =>
    socket.destroy(new TunnelError('timeout', `no login within ${limitMs} ms`)),
  );
  try {
    return await accept(socket, options, {});
  } catch (err) {
    socket.destroy();
    throw err;
  } finally {
    late.cancel();
  }
}

/** What was taken off a connection already; each only once. */
interface Layers {
  isSecure?: boolean;
  isWebSocket?: boolean;
}

async function accept(socket: Duplex, options: TransportOptions, layers: Layers): Promise<AcceptedTransport> {
  const first = await firstChunk(socket);
  const isSecure = layers.isSecure === true;
  if (options.wantsClientCertificate && socket instanceof TLSSocket && !hasTrustedPeer(socket)) {
    throw new TunnelError('protocol', 'client certificate missing or not signed by the trusted authority');
  }
  const found = classifyFirstByte(first[0] ?? -1, isSecure);
  if (found.kind === 'tls') {
    socket.unshift(first.subarray(found.skip));
    return accept(await secure(socket, options), options, { ...layers, isSecure: true });
  }
  socket.unshift(first);
  if (found.kind === 'http' && layers.isWebSocket !== true) {
    return accept(await options.upgrade(socket), options, { ...layers, isWebSocket: true });
  }
  if (options.isForced && !isSecure)
    throw new TunnelError('protocol', 'connection without TLS, which this server requires');
  if (found.kind === 'unknown' || found.kind === 'http')
    throw new TunnelError('protocol', `no frp client: first byte ${first[0]}`);
  return { kind: found.kind, stream: socketStream(socket) };
}

/** The first bytes that arrive; the socket is paused afterwards. */
function firstChunk(socket: Duplex): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      socket.pause();
      socket.removeListener('data', onData);
      socket.removeListener('end', onEnd);
      socket.removeListener('error', onError);
      socket.removeListener('close', onEnd);
    };
    const onData = (chunk: Buffer): void => {
      settle();
      resolve(chunk);
    };
    const onEnd = (): void => {
      settle();
      reject(new TunnelError('closed', 'peer closed the connection before it said anything'));
    };
    const onError = (err: Error): void => {
      settle();
      reject(err instanceof TunnelError ? err : new TunnelError('closed', errorMessage(err), { cause: err }));
    };
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('close', onEnd);
    socket.resume();
  });
}

/** Takes TLS off. Data comes only out of a finished handshake, so the wait for it is the wait for the handshake too. */
async function secure(socket: Duplex, options: TransportOptions): Promise<TLSSocket> {
  const secureContext = await options.context();
  if (socket.destroyed)
    throw new TunnelError('closed', 'peer closed the connection before the TLS handshake');
  const settings = {
    isServer: true,
    secureContext,
    requestCert: options.wantsClientCertificate,
    rejectUnauthorized: options.wantsClientCertificate,
    allowHalfOpen: true,
  };
  const secured = new TLSSocket(socket, settings);
  secured.on('error', () => {}); // as for the socket under it
  return secured;
}

/** OpenSSL's verdict on the client certificate: a bare TLSSocket leaves it to its owner, tls.Server does not. */
function hasTrustedPeer(socket: TLSSocket): boolean {
  const { ssl } = socket as unknown as { ssl?: { verifyError(): Error | null } };
  return (
    ssl !== undefined && ssl.verifyError() === null && Object.keys(socket.getPeerCertificate()).length > 0
  );
}
