/** Forwarded ports of a session: listeners here that lead to the node (`-L`, SOCKS for `-D`), listeners there that lead here. */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { Clock } from '../../../lib/clock.ts';
import { errorMessage } from '../../../lib/errors.ts';
import type { SshSession } from '../../../ssh/session.ts';
import type { Forward, Listen } from './forward-spec.ts';
import { joinDuplexes } from './join-duplexes.ts';
import { listenHere } from './local-listener.ts';
import type { LocalListener } from './local-listener.ts';
import { SOCKS_FAILED, SOCKS_OK, SocksHandshake, socksReply } from './socks5.ts';

/** A SOCKS client says where it wants to go by then, milliseconds. */
const SOCKS_TIMEOUT_MS = 10_000;

/** What a forwarding needs. */
export interface ForwardingDeps {
  session: SshSession;
  clock: Clock;
  /** Tells about single connections that failed, and about ports. */
  warn: (line: string) => void;
}

/** `-L`: connections to a port here go to an address as the node sees it. */
export function forwardLocal({ listen, host, port }: Forward, deps: ForwardingDeps): Promise<LocalListener> {
  return forward(listen, '-L', deps, (socket) => {
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
  return forward(listen, '-D', deps, (socket) => serveSocks(socket, deps));
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

function forward(
  listen: Listen,
  flag: string,
  { warn }: ForwardingDeps,
  onConnection: (socket: Socket) => void,
): Promise<LocalListener> {
  const onError = (err: Error): void => warn(`Warning: ${flag} ${listen.port}: ${errorMessage(err)}`);
  return listenHere(listen, flag, { onConnection, onError });
}
