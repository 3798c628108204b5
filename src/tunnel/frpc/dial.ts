/** Opens one transport connection to a tunnel server: TCP or unix socket, websocket and TLS where configured. */
import { connect, isIP } from 'node:net';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import type { ConnectionOptions } from 'node:tls';
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { formatHostPort } from '../../lib/address.ts';
import { errorMessage } from '../../lib/errors.ts';
import { socketStream } from '../socket-stream.ts';
import { connectWebSocket } from '../websocket/connect.ts';
import type { FrpClientConfig, FrpClientTls, ServerAddress } from './types.ts';

/** How long a server may take to accept, websocket and TLS included, milliseconds (frp's dialServerTimeout). */
export const DIAL_TIMEOUT_MS = 10_000;
/** frp's marker in front of TLS. */
const TLS_MARKER = Buffer.of(0x17);

/** What of a client's configuration matters here. */
export type DialConfig = Pick<FrpClientConfig, 'server' | 'tls' | 'transport'>;

/** How people read a server's address. */
export function describeServer(server: ServerAddress): string {
  return 'path' in server ? server.path : formatHostPort(server.host, server.port);
}

/** Connects; rejects with TunnelError (offline, timeout, closed) that names the address. */
export function dialServer(config: DialConfig, signal: AbortSignal): Promise<ByteStream> {
  const where = describeServer(config.server);
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(new TunnelError('closed', `connect to ${where}: stopped`));
      return;
    }
    const raw = connectRaw(config.server);
    raw.on('error', () => {}); // failures are reported by the step that waits, or by the stream
    const settle = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
    };
    const fail = (err: Error): void => {
      settle();
      raw.destroy(); // fails the layers above it too
      reject(err);
    };
    const timer = setTimeout(
      () => fail(new TunnelError('timeout', `connect to ${where}: no answer in ${DIAL_TIMEOUT_MS / 1000} s`)),
      DIAL_TIMEOUT_MS,
    );
    const onAbort = (): void => fail(new TunnelError('closed', `connect to ${where}: stopped`));
    signal.addEventListener('abort', onAbort, { once: true });
    establish(raw, config).then(
      (socket) => {
        settle();
        resolve(socketStream(socket));
      },
      (err: unknown) => {
        const why = errorMessage(err).replace(`${where}: `, '');
        fail(new TunnelError('offline', `connect to ${where}: ${why}`, { cause: err }));
      },
    );
  });
}

function connectRaw(server: ServerAddress): Socket {
  if ('path' in server) return connect({ path: server.path, allowHalfOpen: true });
  const { host, port } = server;
  return connect({ host, port, allowHalfOpen: true, noDelay: true, keepAlive: true });
}

async function establish(raw: Socket, { server, tls, transport }: DialConfig): Promise<Duplex> {
  await arrival(raw, 'connect');
  const host = 'host' in server ? server.host : 'localhost';
  const authority = 'host' in server ? formatHostPort(host, server.port) : host;
  const carrier = transport === 'websocket' ? await connectWebSocket(raw, authority) : raw;
  return tls === undefined ? carrier : secure(carrier, tls, host);
}

async function secure(carrier: Duplex, tls: FrpClientTls, host: string): Promise<Duplex> {
  const { customFirstByte = false, servername = host, ...identity } = tls;
  if (customFirstByte) carrier.write(TLS_MARKER);
  const options: ConnectionOptions & { allowHalfOpen: boolean } = {
    ...identity,
    socket: carrier,
    allowHalfOpen: true,
    // As with frp, an authority is what turns verification on: Routers make their own certificates.
    rejectUnauthorized: tls.ca !== undefined,
    // An address is verified like a name, but never sent as one (RFC 6066 3).
    ...(isIP(servername) === 0 ? { servername } : { host: servername }),
  };
  const secured = connectTls(options);
  await arrival(secured, 'secureConnect');
  return secured;
}

/** Waits for an event; rejects with the error, or with TunnelError (offline) when the socket closes first. */
function arrival(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((resolve, reject) => {
    const onError = (err: Error): void => {
      settle();
      socket.on('error', () => {}); // only the first one counts
      reject(err);
    };
    const onClose = (): void => {
      settle();
      reject(new TunnelError('offline', 'closed before it was established'));
    };
    const onArrival = (): void => {
      settle();
      resolve();
    };
    const settle = (): void => {
      socket.removeListener('error', onError);
      socket.removeListener('close', onClose);
      socket.removeListener(event, onArrival);
    };
    socket.once('error', onError);
    socket.once('close', onClose);
    socket.once(event, onArrival);
  });
}
