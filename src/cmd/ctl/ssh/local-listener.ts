/** A port on this side: open on every address of a name, as localhost has one of each family and programs dial either. */
import { lookup } from 'node:dns/promises';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { formatHostPort } from '../../../lib/address.ts';
import { EdgeError, errorCode, errorMessage } from '../../../lib/errors.ts';
import type { Listen } from './forward-spec.ts';

/** Connections of one port at a time; further ones are closed. */
const MAX_CONNECTIONS = 512;

/** An open port. */
export interface LocalListener {
  /** Its first address, `HOST:PORT`. */
  readonly address: string;
  /** Takes no more connections; those that are open stay. */
  close(): void;
}

/** What a listener needs. */
export interface ListenerDeps {
  /** Takes a connection, whose errors are heard already. */
  onConnection: (socket: Socket) => void;
  /** Told of an error of an open port, as that no more connections can be taken. */
  onError: (err: Error) => void;
  /** All addresses of a name; the system's resolver when absent. */
  addressesOf?: (host: string) => Promise<string[]>;
}

/**
 * Listens; an empty host is every address of this machine. A port that is taken on one address is an error that names it
 * and the flag, EDGE_ERR_CTL_FORWARD; addresses that this machine does not have are passed over when there is another.
 */
export async function listenHere(
  { host, port }: Listen,
  flag: string,
  { onConnection, onError, addressesOf = systemAddressesOf }: ListenerDeps,
): Promise<LocalListener> {
  const servers: Server[] = [];
  const open = new Set<Socket>();
  const take = (socket: Socket): void => {
    socket.on('error', () => {}); // who takes it hears the close
    if (open.size >= MAX_CONNECTIONS) {
      socket.destroy();
      return;
    }
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    onConnection(socket);
  };
  const close = (): void => servers.forEach((server) => void server.close());
  let missing: unknown;
  try {
    for (const address of host === '' ? [undefined] : await addressesOf(host)) {
      try {
        servers.push(await listen(address, portOf(servers[0]) ?? port, take));
      } catch (err) {
        if (!isPassedOver(err, port)) throw err;
        missing ??= err;
      }
    }
    const [first] = servers;
    const bound = first?.address();
    if (bound === undefined || bound === null || typeof bound === 'string')
      throw missing ?? new Error('it has no address');
    for (const server of servers) server.on('error', onError);
    return { address: formatHostPort(bound.address, bound.port), close };
  } catch (err) {
    close();
    const where = `${host === '' ? '*' : host}:${port}`;
    throw new EdgeError('EDGE_ERR_CTL_FORWARD', `${flag}: cannot listen on ${where}: ${errorMessage(err)}`, {
      cause: err,
    });
  }
}

async function systemAddressesOf(host: string): Promise<string[]> {
  const found = await lookup(host, { all: true });
  return [...new Set(found.map(({ address }) => address))];
}

/** Whether the port need not be open on this address: it is none of this machine's, or the port was any free one. */
function isPassedOver(err: unknown, port: number): boolean {
  const code = errorCode(err);
  return code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT' || (code === 'EADDRINUSE' && port === 0);
}

function portOf(server: Server | undefined): number | undefined {
  const address = server?.address();
  return typeof address === 'object' ? address?.port : undefined;
}

function listen(
  host: string | undefined,
  port: number,
  onConnection: (socket: Socket) => void,
): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, onConnection);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      server.off('error', reject);
      resolve(server);
    });
  });
}
