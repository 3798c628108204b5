/** Gives a session its connections: streams of one mux session, or a dial for each. */
import type { Clock } from '../../lib/clock.ts';
import type { ByteStream } from '../byte-stream.ts';
import { YamuxSession } from '../yamux/session.ts';
import { dialServer } from './dial.ts';
import { watchServer } from './silent-server.ts';
import type { FrpClientConfig } from './types.ts';

/** Where a session's connections come from. */
export interface Connector {
  /** Opens one more connection to the server. */
  open(): Promise<ByteStream>;
  /** Round trip, milliseconds, where the transport measures it. */
  readonly roundTripMs: number | undefined;
  /** See FrpClient.probe(). */
  probe(): number;
  /** Closes the transport and fails what is still open on it. */
  close(err?: Error): void;
}

/** Connects and returns the connector with its first connection. `onClose` tells when the transport is gone. */
export async function createConnector(
  config: FrpClientConfig,
  deps: { clock: Clock },
  signal: AbortSignal,
  onClose: (err?: Error) => void,
): Promise<{ connector: Connector; first: ByteStream }> {
  const transport = await dialServer(config, signal);
  if (!config.tcpMux) {
    const connector: Connector = {
      open: () => dialServer(config, signal),
      roundTripMs: undefined,
      probe: () => 0,
      close: () => {}, // every connection stands alone and is closed by its owner
    };
    return { connector, first: transport };
  }
  let stopWatch = (): void => {};
  const session = new YamuxSession(
    transport,
    'client',
    {
      onStream: (stream) => stream.destroy(),
      onClose: (err) => {
        stopWatch();
        onClose(err);
      },
    },
    deps,
    { keepaliveMs: config.keepaliveMs },
  );
  if (config.isWatched === true) stopWatch = watchServer(session, config, deps.clock);
  const connector: Connector = {
    // An async function, so that a session that is closed rejects instead of throwing.
    open: async () => session.openStream(),
    get roundTripMs() {
      return session.roundTripMs;
    },
    probe() {
      session.probe();
      return session.silentMs;
    },
    close: (err) => session.close(err),
  };
  return { connector, first: session.openStream() };
}
