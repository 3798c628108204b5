/** One TCP listener of a mapped service: comes up when its address is free, however long that takes. */
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { formatHostPort } from '../lib/address.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import { listenError } from '../lib/http.ts';
import type { Logger } from '../lib/log.ts';

/** What a listener is doing; `failed` is tried again by itself. */
export type ListenerState = 'starting' | 'listening' | 'failed' | 'closed';

/** A listener. */
export interface Listener {
  readonly state: ListenerState;
  /** Why it failed. */
  readonly error: string | undefined;
  /** Stops accepting; accepted connections go on. Idempotent. */
  close(): void;
}

/** Where and for whom to listen. */
export interface ListenerConfig {
  host: string;
  port: number;
  /** Takes a connection, which is paused: nothing is read of it before the owner says so. */
  onConnection(socket: Socket): void;
  onChange(): void;
}

/** Time between tries; a port that another program gives up is taken this soon, milliseconds. */
const RETRY_MS = 3000;
/** Connections that the kernel holds while the process is busy. */
const BACKLOG = 1024;

/** Starts listening. */
export function startListener(config: ListenerConfig, deps: { clock: Clock; log: Logger }): Listener {
  const where = formatHostPort(config.host, config.port);
  let state: ListenerState = 'starting';
  let error: string | undefined;
  let server: Server | undefined;
  let retry: Timer | undefined;

  const failed = (err: Error): void => {
    if (state === 'closed') return;
    const message = errorMessage(listenError(where, err));
    if (state === 'listening') return; // accept errors (EMFILE) concern one connection
    if (message !== error)
      deps.log.warn('cannot listen for a mapped service, trying again', { address: where, error: message });
    state = 'failed';
    error = message;
    retry = deps.clock.after(RETRY_MS, open);
    config.onChange();
  };
  const open = (): void => {
    // Half-open, since a client that has sent its request may close that half and still wants the answer.
    server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (socket) =>
      config.onConnection(socket),
    );
    server.on('error', failed);
    server.listen({ host: config.host, port: config.port, backlog: BACKLOG, exclusive: true }, () => {
      if (state === 'closed') {
        server?.close(); // closed before the address was bound, when there was nothing to close yet
        return;
      }
      if (error !== undefined) deps.log.info('listening for a mapped service again', { address: where });
      state = 'listening';
      error = undefined;
      config.onChange();
    });
  };
  open();
  return {
    get state() {
      return state;
    },
    get error() {
      return error;
    },
    close() {
      if (state === 'closed') return;
      state = 'closed';
      retry?.cancel();
      server?.close();
    },
  };
}
