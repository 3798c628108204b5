/** Forwarded ports of a session: listeners here that lead to the node (`-L`, SOCKS for `-D`), listeners there that lead here. */
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import type { Clock } from '../../../lib/clock.ts';
import { EdgeError, errorMessage } from '../../../lib/errors.ts';
import { formatHostPort } from '../../../lib/address.ts';
import type { SshSession } from '../../../ssh/session.ts';
import type { Forward, Listen } from './forward-spec.ts';
import { joinDuplexes } from './join-duplexes.ts';
import { SOCKS_FAILED, SOCKS_OK, SocksHandshake, socksReply } from './socks5.ts';

/** Connections of one listener at a time; further ones wait in the kernel's queue or are closed. */
const MAX_CONNECTIONS = 512;
/** A SOCKS client says where it wants to go by then, milliseconds. */
const SOCKS_TIMEOUT_MS = 10_000;

/** What a forwarding needs. */
export interface ForwardingDeps {
  session: SshSession;
  clock: Clock;
  /** Tells about single connections that failed, and about ports. */
  warn: (line: string) => void;
}

/** Listeners on this side. */
export interface LocalListener {
  /** Where it listens, `HOST:PORT`. */
  readonly address: string;
  /** Takes no more; connections that are open end with the session. */
  close(): void;
}

/** `-L`: connections to a port here go to an address as the node sees it. */
export function forwardLocal({ listen, host, port }: Forward, deps: ForwardingDeps): Promise<LocalListener> {
  return listenHere(listen, '-L', deps, (socket) => {
    deps.session.connectTo(host, port).then(
      (channel) => joinDuplexes(socket, channel),
      (err: unknown) => {
        deps.warn(`Warning: -L ${listen.port}: ${errorMessage(err)}`);
        socket.resetAndDestroy();
      },
    );
  });
}

/** `-D`: a SOCKS 5 proxy here, whose connections come from the node. */
export function forwardDynamic(listen: Listen, deps: ForwardingDeps): Promise<LocalListener> {
  return listenHere(listen, '-D', deps, (socket) => serveSocks(socket, deps));
}

/** `-R`: connections to a port of the node come here; answers the port. */
export async function forwardRemote(
  { listen, host, port }: Forward,
  { session, warn }: ForwardingDeps,
): Promise<number> {
  const listener = await session.listen(listen.host, listen.port, (channel) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    socket.once('connect', () => joinDuplexes(socket, channel));
    socket.once('error', (err) => {
      if (!socket.connecting && socket.remoteAddress !== undefined) return; // joined: passed on
      warn(`Warning: -R ${listen.port}: ${errorMessage(err)}`);
      channel.destroy();
    });
  });
  return listener.port;
}

function serveSocks(socket: Socket, { session, clock, warn }: ForwardingDeps): void {
  const handshake = new SocksHandshake();
  const timer = clock.after(SOCKS_TIMEOUT_MS, () => socket.destroy());
  socket.once('close', () => timer.cancel());
  const onData = (chunk: Buffer): void => {
    for (const { reply, target, rest, isRefused } of handshake.feed(chunk)) {
      if (reply !== undefined) socket.write(reply);
      if (isRefused === true) {
        socket.off('data', onData);
        socket.end();
      }
      if (target === undefined) continue;
      timer.cancel();
      socket.off('data', onData);
      socket.pause();
      if (rest !== undefined && rest.length > 0) socket.unshift(rest);
      session.connectTo(target.host, target.port).then(
        (channel) => {
          socket.write(socksReply(SOCKS_OK));
          joinDuplexes(socket, channel);
        },
        (err: unknown) => {
          warn(`Warning: -D: ${errorMessage(err)}`);
          socket.end(socksReply(SOCKS_FAILED));
        },
      );
    }
  };
  socket.on('data', onData);
}

function listenHere(
  { host, port }: Listen,
  flag: string,
  { warn }: ForwardingDeps,
  onConnection: (socket: Socket) => void,
): Promise<LocalListener> {
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => {}); // the join hears the close
    onConnection(socket);
  });
  server.maxConnections = MAX_CONNECTIONS;
  return new Promise((resolve, reject) => {
    server.once('error', (err) => {
      const text = `${flag}: cannot listen on ${host === '' ? '*' : host}:${port}: ${errorMessage(err)}`;
      reject(new EdgeError('EDGE_ERR_CTL_FORWARD', text));
    });
    server.listen({ port, ...(host === '' ? {} : { host }) }, () => {
      server.on('error', (err) => warn(`Warning: ${flag} ${port}: ${errorMessage(err)}`));
      const bound = server.address();
      const address =
        bound === null || typeof bound === 'string'
          ? `${host}:${port}`
          : formatHostPort(bound.address, bound.port);
      resolve({ address, close: () => void server.close() });
    });
  });
}
