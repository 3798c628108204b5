/** Opens one transport connection to a tunnel server: TCP or unix socket, with TLS where configured. */
import { connect, isIP } from 'node:net';
import type { Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { formatHostPort } from '../../lib/address.ts';
import { errorMessage } from '../../lib/errors.ts';
import { socketStream } from '../socket-stream.ts';
import type { FrpClientConfig, ServerAddress } from './types.ts';

/** How long a server may take to accept, TLS included, milliseconds (frp's dialServerTimeout). */
export const DIAL_TIMEOUT_MS = 10_000;

/** How people read a server's address. */
export function describeServer(server: ServerAddress): string {
  return 'path' in server ? server.path : formatHostPort(server.host, server.port);
}

/** Connects; rejects with TunnelError (offline, timeout) that names the address. */
export function dialServer(
  config: Pick<FrpClientConfig, 'server' | 'tls'>,
  signal: AbortSignal,
): Promise<ByteStream> {
  const { server, tls } = config;
  const where = describeServer(server);
  return new Promise((resolve, reject) => {
    const raw: Socket =
      'path' in server
        ? connect({ path: server.path, allowHalfOpen: true })
        : connect({
            host: server.host,
            port: server.port,
            allowHalfOpen: true,
            noDelay: true,
            keepAlive: true,
          });
    let socket = raw;
    const timer = setTimeout(
      () => fail(new TunnelError('timeout', `connect to ${where}: no answer in 10 s`)),
      DIAL_TIMEOUT_MS,
    );
    const onAbort = (): void => fail(new TunnelError('closed', `connect to ${where}: stopped`));
    const onError = (err: Error): void =>
      fail(
        new TunnelError('offline', `connect to ${where}: ${errorMessage(err).replace(`${where}: `, '')}`, {
          cause: err,
        }),
      );
    const onClose = (): void =>
      fail(new TunnelError('offline', `connect to ${where}: closed before it was established`));
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      socket.removeListener('error', onError);
      socket.removeListener('close', onClose);
    };
    const fail = (err: Error): void => {
      settle();
      socket.on('error', () => {}); // the failure is reported already
      socket.destroy();
      raw.destroy();
      reject(err);
    };
    const succeed = (): void => {
      settle();
      resolve(socketStream(socket));
    };
    if (signal.aborted) {
      fail(new TunnelError('closed', `connect to ${where}: stopped`));
      return;
    }
    signal.addEventListener('abort', onAbort, { once: true });
    if (tls === undefined) raw.once('connect', succeed);
    else {
      const host = 'host' in server ? server.host : 'localhost';
      const servername = tls.servername ?? (isIP(host) === 0 ? host : undefined);
      const options: ConnectionOptions & { allowHalfOpen: boolean } = {
        ...tls,
        socket: raw,
        allowHalfOpen: true,
        // As with frp, an authority is what turns verification on: Routers make their own certificates.
        rejectUnauthorized: tls.ca !== undefined,
        ...(servername === undefined ? {} : { servername }),
      };
      socket = connectTls(options);
      socket.once('secureConnect', succeed);
    }
    socket.on('error', onError);
    socket.on('close', onClose);
  });
}
