/** Turns an accepted socket into a byte stream: recognises the peer, takes TLS off, within a time limit. */
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import type { SecureContext } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { socketStream } from '../socket-stream.ts';
import { classifyFirstByte } from './classify.ts';

/** How connections are secured. */
export interface TransportSecurity {
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
  security: TransportSecurity,
  limitMs: number,
  clock: Clock,
): Promise<AcceptedTransport> {
  const late = clock.after(limitMs, () =>
    socket.destroy(new TunnelError('timeout', `no login within ${limitMs} ms`)),
  );
  try {
    return await accept(socket, security, false);
  } catch (err) {
    socket.on('error', () => {}); // reported through the rejection
    socket.destroy();
    throw err;
  } finally {
    late.cancel();
  }
}

async function accept(
  socket: Socket,
  security: TransportSecurity,
  isSecure: boolean,
): Promise<AcceptedTransport> {
  const first = await firstChunk(socket);
  const found = classifyFirstByte(first[0] ?? -1, isSecure);
  if (found.kind === 'tls') {
    socket.unshift(first.subarray(found.skip));
    return accept(await secure(socket, security), security, true);
  }
  if (security.isForced && !isSecure)
    throw new TunnelError('protocol', 'connection without TLS, which this server requires');
  if (found.kind === 'unsupported') throw new TunnelError('protocol', `${found.what} is not supported`);
  if (found.kind === 'unknown') throw new TunnelError('protocol', `no frp client: first byte ${first[0]}`);
  socket.unshift(first);
  return { kind: found.kind, stream: socketStream(socket) };
}

/** The first bytes that arrive; the socket is paused afterwards. */
function firstChunk(socket: Socket): Promise<Buffer> {
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
      reject(err);
    };
    socket.on('data', onData);
    socket.on('end', onEnd);
    socket.on('error', onError);
    socket.on('close', onEnd);
    socket.resume();
  });
}

async function secure(socket: Socket, security: TransportSecurity): Promise<TLSSocket> {
  const secureContext = await security.context();
  const options = {
    isServer: true,
    secureContext,
    requestCert: security.wantsClientCertificate,
    rejectUnauthorized: security.wantsClientCertificate,
    allowHalfOpen: true,
  };
  const secured = new TLSSocket(socket, options);
  return new Promise((resolve, reject) => {
    const onError = (err: Error): void =>
      reject(new TunnelError('protocol', `TLS handshake failed: ${err.message}`, { cause: err }));
    const onClose = (): void =>
      reject(new TunnelError('closed', 'peer closed the connection during the TLS handshake'));
    secured.once('error', onError);
    secured.once('close', onClose);
    secured.once('secure', () => {
      secured.removeListener('error', onError);
      secured.removeListener('close', onClose);
      if (security.wantsClientCertificate && !hasTrustedPeer(secured)) {
        reject(
          new TunnelError('protocol', 'client certificate missing or not signed by the trusted authority'),
        );
      } else resolve(secured);
    });
  });
}

/** OpenSSL's verdict on the client certificate: a bare TLSSocket leaves it to its owner, tls.Server does not. */
function hasTrustedPeer(socket: TLSSocket): boolean {
  const { ssl } = socket as unknown as { ssl?: { verifyError(): Error | null } };
  return (
    ssl !== undefined && ssl.verifyError() === null && Object.keys(socket.getPeerCertificate()).length > 0
  );
}
