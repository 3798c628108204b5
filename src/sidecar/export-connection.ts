/** One connection to an exported service: dials the target, tells the consumer what came of it, and relays. */
import { lookup } from 'node:dns';
import { connect, isIP, Socket } from 'node:net';
import type { LookupFunction } from 'node:net';
import type { HostPort } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { EdgeError } from '../lib/errors.ts';
import type { ByteStream } from '../tunnel/byte-stream.ts';
import type { Confirmation } from '../tunnel/confirmation.ts';
import { relay } from '../tunnel/relay.ts';
import type { RelayHandle, RelayStats } from '../tunnel/relay.ts';
import { socketStream } from '../tunnel/socket-stream.ts';
import { dialTo } from './loopback.ts';

/** A connection that is being opened, or is open. */
export interface CarriedConnection {
  /** Aborts it. */
  destroy(): void;
}

/** What is to be carried where. */
export interface CarryRequest {
  stream: ByteStream;
  /** How to tell the consumer whether the target took the connection; absent when it does not listen for that. */
  confirmation: Confirmation | undefined;
  target: HostPort;
  connectTimeoutMs: number;
  /** 0 never closes it. */
  idleTimeoutMs: number;
}

/** Who is told, and how to dial. */
export interface CarryDeps {
  clock: Clock;
  dial(target: HostPort): Socket;
  /** The target took the connection. */
  onOpen(): void;
  /** The target cannot be reached; onDone follows. */
  onFailure(err: Error): void;
  /** It is over, once; with its bytes when it was open. */
  onDone(stats?: RelayStats): void;
}

/** Opens the target for a stream, which stays paused until then: nothing is read that could get lost. */
export function carry(
  { stream, confirmation, target, connectTimeoutMs, idleTimeoutMs }: CarryRequest,
  deps: CarryDeps,
): CarriedConnection {
  const { clock } = deps;
  const socket = deps.dial(target);
  let running: RelayHandle | undefined;
  let isDone = false;
  const done = (stats?: RelayStats): void => {
    timer.cancel();
    if (isDone) return;
    isDone = true;
    deps.onDone(stats);
  };
  const giveUp = (err: Error): void => {
    socket.destroy();
    if (confirmation === undefined) stream.destroy(err);
    else confirmation.refuse();
    done();
  };
  const failed = (err: Error): void => {
    deps.onFailure(err);
    giveUp(err);
  };
  const timer = clock.after(connectTimeoutMs, () =>
    failed(new EdgeError('EDGE_ERR_SIDECAR_DIAL', `connect: no answer in ${connectTimeoutMs / 1000}s`)),
  );
  stream.setHandler({
    onData: () => {},
    onEnd: () => {},
    onDrain: () => {},
    onClose: () => {
      socket.destroy();
      done();
    },
  });
  socket.once('error', failed);
  socket.once('connect', () => {
    socket.off('error', failed);
    timer.cancel();
    deps.onOpen();
    confirmation?.accept();
    running = relay(stream, socketStream(socket), {
      clock,
      ...(idleTimeoutMs === 0 ? {} : { idleTimeoutMs }),
      onClose: done,
    });
  });
  return {
    destroy() {
      if (running === undefined) giveUp(new EdgeError('EDGE_ERR_SIDECAR_STOPPED', 'sidecar stopped'));
      else running.destroy();
    },
  };
}

/**
 * Dials over the network; never an address of which `isOwn` is true. A service whose target is where it is mapped here
 * would go round in circles, with one more connection each time, until nothing is left.
 */
export function dialTarget(target: HostPort, isOwn: (address: string) => boolean = () => false): Socket {
  const { host, port } = target;
  if (isIP(host) !== 0)
    return isOwn(host)
      ? new Socket().destroy(leadsToItself(host))
      : connect({ host, port, allowHalfOpen: true, noDelay: true });
  const known = dialTo(host);
  const find = 'lookup' in known ? known.lookup : lookup;
  const guarded: LookupFunction = (name, options, done) =>
    find(name, options, (err, found, family) => {
      const addresses = typeof found === 'string' ? [found] : (found ?? []).map(({ address }) => address);
      const own = addresses.find((address) => isOwn(address));
      if (own === undefined) done(err, found, family);
      else done(leadsToItself(own), '');
    });
  return connect({ ...known, lookup: guarded, port, allowHalfOpen: true, noDelay: true });
}

function leadsToItself(address: string): EdgeError {
  return new EdgeError(
    'EDGE_ERR_SIDECAR_LOOP',
    `${address} is where this service is mapped here: it would lead to itself`,
  );
}
