/** A TCP service that sends back what it gets, and clients of it that remember what came and how the connection ended. */
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { errorCode } from '../../src/lib/errors.ts';
import type { Cleanup } from './temp-dir.ts';

/** A running service. */
export interface EchoService {
  readonly port: number;
  /** Connections so far, and those that are open. */
  readonly total: number;
  readonly open: number;
  /** Stops listening and aborts what is open. */
  stop(): void;
  /** Listens on the same port again. */
  start(): Promise<void>;
}

/**
 * Aborts a connection with a reset. One that is being shut down cannot be reset: Node would leave it open for ever, and
 * spin at the end of the process.
 */
export function abort(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

/** Starts a service on `host`; each connection begins with `greeting`. Stopped after the test. */
export async function startEcho(t: Cleanup, greeting = '', host = '127.0.0.1'): Promise<EchoService> {
  const open = new Set<Socket>();
  let total = 0;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    total++;
    open.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => open.delete(socket));
    socket.write(greeting);
    socket.pipe(socket);
  });
  let port = 0;
  const start = (): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, resolve);
    });
  const stop = (): void => {
    open.forEach(abort);
    server.close();
  };
  await start();
  ({ port } = server.address() as AddressInfo);
  t.after(stop);
  return {
    port,
    get total() {
      return total;
    },
    get open() {
      return open.size;
    },
    stop,
    start,
  };
}

/** One connection of an application. */
export interface TcpUser {
  readonly socket: Socket;
  readonly received: string;
  /** Resolves with what came first, with nothing when it ended before. */
  readonly first: Promise<string>;
  /** Resolves with the code of the error that ended it, `ended` without one. */
  readonly closed: Promise<string>;
}

/** Connects; `from` is the address to come from. Destroyed after the test. */
export function dial(
  t: Cleanup,
  { address, port }: { address: string; port: number },
  from?: string,
): TcpUser {
  const socket = connect({
    host: address,
    port,
    ...(from === undefined ? {} : { localAddress: from }),
  });
  let received = '';
  let code = 'ended';
  socket.on('data', (chunk: Buffer) => (received += chunk.toString()));
  socket.on('error', (err) => (code = errorCode(err) ?? err.message));
  const first = new Promise<string>((resolve) => {
    socket.once('data', (chunk: Buffer) => resolve(chunk.toString()));
    socket.once('close', () => resolve(''));
  });
  const closed = new Promise<string>((resolve) => {
    socket.on('close', () => resolve(code));
  });
  t.after(() => void socket.destroy());
  return {
    socket,
    get received() {
      return received;
    },
    first,
    closed,
  };
}
