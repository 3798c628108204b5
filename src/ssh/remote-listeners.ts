/** Ports of a node that lead here (`-R`): asks the sshd for them, and gives each connection to the one who asked. */
import type { Duplex } from 'node:stream';
import type { Client } from 'ssh2';
import { errorMessage } from '../lib/errors.ts';
import { SshError } from './errors.ts';

/** A port of the node that leads here. */
export interface RemoteListener {
  /** The port, also where the node chose it. */
  readonly port: number;
}

/** The ports of one session. */
export interface RemoteListeners {
  listen(host: string, port: number, onConnection: (stream: Duplex) => void): Promise<RemoteListener>;
}

/** Creates the ports of a client that has not connected yet. */
export function createRemoteListeners(client: Client): RemoteListeners {
  const byPort = new Map<number, (stream: Duplex) => void>();
  client.on('tcp connection', ({ destPort }, accept, reject) => {
    const onConnection = byPort.get(destPort);
    if (onConnection === undefined) reject();
    else onConnection(accept());
  });
  return {
    listen: (host, port, onConnection) =>
      new Promise((resolve, reject) => {
        client.forwardIn(host, port, (err, chosen) => {
          if (err !== undefined) {
            const where = `${host === '' ? '*' : host}:${port}`;
            reject(
              new SshError('channel', `the node does not listen on ${where}: ${errorMessage(err)}`, {
                hint: 'is the port taken there, or forwarding forbidden (AllowTcpForwarding)?',
              }),
            );
            return;
          }
          const listening = port === 0 ? chosen : port;
          byPort.set(listening, onConnection);
          resolve({ port: listening });
        });
      }),
  };
}
