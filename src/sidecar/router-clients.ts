/** The tunnel clients of a sidecar, one a Router: made, replaced and stopped so that they match the wanted set. */
import { Backoff } from '../lib/backoff.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import type { FrpClient, FrpClientConfig, ServerAddress } from '../tunnel/frpc/types.ts';
import { formatServerAddress } from './routers.ts';

/** What a client's connection is made from; another value makes another client. */
export type ClientSettings = Omit<FrpClientConfig, 'server'>;

/** A Router that should, or may, have a client. */
export interface ClientTarget {
  name: string;
  /** Best first; empty keeps a client that is there. */
  addresses: readonly ServerAddress[];
  /** Made for the address in use. */
  settings(address: ServerAddress): ClientSettings;
  /** Whether it must have a client now; one that is no longer needed lingers, then goes. */
  isNeeded: boolean;
}

/** What the set needs. */
export interface RouterClientsDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  createClient(config: FrpClientConfig, log: Logger): FrpClient;
  /** Whether connections run through the Router; such a client is not stopped for want of need. */
  isBusy(name: string): boolean;
  /** A client came, went, or changed its phase. */
  onChange(): void;
}

/** A Router's client now. */
export interface RouterClient {
  readonly name: string;
  readonly client: FrpClient;
  readonly address: ServerAddress;
}

/** The set of clients. */
export interface RouterClients {
  /**
   * Converges on the targets. Routers that are not among them lose their client, as soon as it is offline or carries no
   * connection: an object that is made anew, or a list that was wrong for a moment, breaks nothing.
   */
  reconcile(targets: readonly ClientTarget[]): void;
  get(name: string): RouterClient | undefined;
  list(): RouterClient[];
  /** Stops all. */
  stop(): Promise<void>;
}

/** A service that flaps must not tear its session each time: an unneeded client stays this long. */
const LINGER_MS = 60_000;

/** What a client was made from. */
interface Fingerprint {
  /** Which host it is connected to, as whom and how; another one is another connection. */
  connection: string;
  /** The port, what it proves itself with, and whom it believes: of no concern to a session that stands. */
  login: string;
}

interface Entry extends RouterClient {
  client: FrpClient;
  address: ServerAddress;
  target: ClientTarget;
  fingerprint: Fingerprint;
  linger: Timer | undefined;
  /** Running while the client is offline and there is another address to try. */
  rotation: Timer | undefined;
  rotationDelay: Backoff;
}

/** Creates an empty set. */
export function createRouterClients(deps: RouterClientsDeps): RouterClients {
  const entries = new Map<string, Entry>();
  const stopping = new Set<Promise<void>>();

  const stopClient = (client: FrpClient): void => {
    client.onChange(() => {});
    const done = client
      .stop()
      .catch((err: unknown) => deps.log.warn('cannot stop a tunnel client', { error: errorMessage(err) }))
      .finally(() => stopping.delete(done));
    stopping.add(done);
  };

  const dial = (target: ClientTarget, address: ServerAddress): FrpClient => {
    const client = deps.createClient(
      { ...target.settings(address), server: address },
      deps.log.with({ router: target.name }),
    );
    let said = '';
    client.onChange(() => {
      const news = newsOf(client);
      if (news !== undefined && news !== said) {
        if (client.phase === 'online')
          deps.log.info(news, { router: target.name, address: formatServerAddress(address) });
        else
          deps.log.warn(news, {
            router: target.name,
            address: formatServerAddress(address),
            error: client.lastError,
          });
        said = news;
      }
      watchAddress(target.name);
      deps.onChange();
    });
    client.start();
    return client;
  };

  /** Moves on to the next address when the one in use has not led anywhere for a while. */
  const watchAddress = (name: string): void => {
    const entry = entries.get(name);
    if (entry === undefined) return;
    if (entry.client.phase === 'online') {
      entry.rotation?.cancel();
      entry.rotation = undefined;
      entry.rotationDelay.reset();
      return;
    }
    if (entry.target.addresses.length < 2 || entry.rotation !== undefined || entry.client.phase !== 'waiting')
      return;
    entry.rotation = deps.clock.after(entry.rotationDelay.next(), () => {
      entry.rotation = undefined;
      const { addresses } = entry.target;
      const at = addresses.findIndex(
        (address) => formatServerAddress(address) === formatServerAddress(entry.address),
      );
      const next = addresses[(at + 1) % addresses.length];
      if (next !== undefined) replace(entry, entry.target, next);
      deps.onChange();
    });
  };

  const replace = (entry: Entry, target: ClientTarget, address: ServerAddress): void => {
    stopClient(entry.client);
    entry.rotation?.cancel();
    entry.rotation = undefined;
    entry.target = target;
    entry.address = address;
    entry.fingerprint = fingerprint(target, address);
    entry.client = dial(target, address);
  };

  const remove = (entry: Entry): void => {
    entries.delete(entry.name);
    entry.linger?.cancel();
    entry.rotation?.cancel();
    stopClient(entry.client);
    deps.onChange();
  };

  const add = (target: ClientTarget): void => {
    const address = target.addresses[0];
    if (address === undefined) return;
    entries.set(target.name, {
      name: target.name,
      target,
      address,
      fingerprint: fingerprint(target, address),
      client: dial(target, address),
      linger: undefined,
      rotation: undefined,
      rotationDelay: new Backoff({ initialMs: 1000, maxMs: 30_000 }, deps.random),
    });
    deps.onChange();
  };

  const update = (entry: Entry, target: ClientTarget): void => {
    entry.target = target;
    if (target.addresses.length === 0) return; // a Router that restarts says nothing for a moment
    const isKept = target.addresses.some(
      (address) => formatServerAddress(address) === formatServerAddress(entry.address),
    );
    const sameHost = target.addresses.find((each) => hostOf(each) === hostOf(entry.address));
    const address = isKept ? entry.address : (sameHost ?? target.addresses[0]);
    if (address === undefined) return;
    const { connection, login } = fingerprint(target, address);
    if (connection === entry.fingerprint.connection) {
      // A token that is exchanged, or a Router that listens on another port, breaks no connection: the next login follows.
      if (login === entry.fingerprint.login || entry.client.phase === 'online') return;
    }
    deps.log.info('router changed, reconnecting', {
      router: target.name,
      address: formatServerAddress(address),
    });
    entry.rotationDelay.reset();
    replace(entry, target, address);
    deps.onChange();
  };

  const settleNeed = (entry: Entry, isNeeded: boolean): void => {
    if (isNeeded) {
      entry.linger?.cancel();
      entry.linger = undefined;
      return;
    }
    entry.linger ??= deps.clock.after(LINGER_MS, () => {
      entry.linger = undefined;
      if (deps.isBusy(entry.name)) settleNeed(entry, false);
      else remove(entry);
    });
  };

  return {
    reconcile(targets) {
      const wanted = new Map(targets.map((target) => [target.name, target]));
      for (const entry of entries.values()) {
        if (wanted.has(entry.name)) continue;
        if (entry.client.phase === 'online' && deps.isBusy(entry.name)) settleNeed(entry, false);
        else remove(entry);
      }
      for (const target of targets) {
        const entry = entries.get(target.name);
        if (entry === undefined) {
          if (target.isNeeded) add(target);
          continue;
        }
        update(entry, target);
        settleNeed(entry, target.isNeeded);
      }
    },
    get: (name) => entries.get(name),
    list: () => [...entries.values()],
    async stop() {
      for (const entry of entries.values()) remove(entry);
      await Promise.all(stopping);
    },
  };
}

/** What the log should say once about a client's phase; undefined for phases on the way. */
function newsOf({ phase }: FrpClient): string | undefined {
  if (phase === 'online') return 'connected to router';
  if (phase === 'refused') return 'router refused the login, trying again';
  return phase === 'waiting' ? 'cannot reach router, trying again' : undefined;
}

function hostOf(address: ServerAddress): string {
  return 'path' in address ? address.path : address.host;
}

/** Leaves out what a running session can do without, such as the pool's size. */
function fingerprint(target: ClientTarget, address: ServerAddress): Fingerprint {
  const { token, user, clientId, tls, tcpMux, additionalScopes, isWatched } = target.settings(address);
  return {
    connection: JSON.stringify([
      hostOf(address),
      user,
      clientId,
      tls !== undefined,
      tcpMux,
      additionalScopes,
      isWatched ?? false,
    ]),
    login: JSON.stringify([formatServerAddress(address), token, tls ?? null]),
  };
}
