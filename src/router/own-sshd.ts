/**
 * Publishes this node's own sshd at its own Router, as `edge sidecar --maintenance` would: a client of the tunnel server
 * beside it, which follows the server's port and token and carries connections to the sshd.
 */
import { connect } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import type { HostPort } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { EdgeError, errorMessage } from '../lib/errors.ts';
import type { Component } from '../lib/lifecycle.ts';
import type { Logger } from '../lib/log.ts';
import type {
  FrpClient,
  FrpClientConfig,
  ProviderConnection,
  ProxyDefinition,
} from '../tunnel/frpc/types.ts';
import { relay } from '../tunnel/relay.ts';
import type { RelayHandle } from '../tunnel/relay.ts';
import { createSealKeys } from '../tunnel/seal/keys.ts';
import { socketStream } from '../tunnel/socket-stream.ts';
import type { RouterState } from './router.ts';

/** What is published. */
export interface OwnSshdConfig {
  service: {
    name: string;
    namespace: string;
    port: number;
    target: HostPort;
    metas: Readonly<Record<string, string>>;
  };
  node: string;
  /** The secret of the maintenance services; empty for none. */
  secret: string;
  isSealRequired: boolean;
}

/** What it needs. */
export interface OwnSshdDeps {
  clock: Clock;
  log: Logger;
  state: RouterState;
  createClient: (config: FrpClientConfig) => FrpClient;
}

/** The publisher. */
export interface OwnSshd extends Component {
  /** Notes that the Router's state may have changed. */
  notify(): void;
}

/** Connections at once; an sshd has a limit of its own (MaxStartups). */
const MAX_CONNECTIONS = 256;
/** The sshd is on this machine, or beside it, milliseconds. */
const DIAL_TIMEOUT_MS = 5000;
const WILDCARDS: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

/** Creates the publisher; it connects while the Router serves. */
export function createOwnSshd(config: OwnSshdConfig, deps: OwnSshdDeps): OwnSshd {
  const { clock, log, state } = deps;
  const proxy = proxyOf(config);
  const open = new Set<{ destroy(): void }>();
  let running: { wanted: FrpClientConfig; client: FrpClient } | undefined;
  let stopping: Promise<void> = Promise.resolve();
  let isStarted = false;
  let isStopped = false;

  const accept = ({ stream, confirmation }: ProviderConnection): void => {
    const { target } = config.service;
    const refuse = (err: Error): void => {
      if (confirmation === undefined) stream.destroy(err);
      else confirmation.refuse();
    };
    if (open.size >= MAX_CONNECTIONS) {
      refuse(new EdgeError('EDGE_ERR_ROUTER_SSHD', 'too many connections to the sshd'));
      return;
    }
    const socket = connect({ ...target, allowHalfOpen: true, noDelay: true });
    let carried: RelayHandle | undefined;
    const entry = { destroy: (): void => void (carried?.destroy() ?? socket.destroy()) };
    open.add(entry);
    const failed = (err: Error): void => {
      log.warn('cannot reach the sshd of this node', { error: errorMessage(err) });
      timer.cancel();
      open.delete(entry);
      socket.destroy();
      refuse(err);
    };
    const timer = clock.after(DIAL_TIMEOUT_MS, () =>
      failed(new EdgeError('EDGE_ERR_ROUTER_SSHD', `no answer in ${DIAL_TIMEOUT_MS / 1000}s`)),
    );
    stream.setHandler({
      onData: () => {},
      onEnd: () => {},
      onDrain: () => {},
      onClose: () => {
        timer.cancel();
        open.delete(entry);
        socket.destroy();
      },
    });
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.off('error', failed);
      timer.cancel();
      confirmation?.accept();
      carried = relay(stream, socketStream(socket), { clock, onClose: () => open.delete(entry) });
    });
  };

  const wantedConfig = (): FrpClientConfig | undefined => {
    const server = state.config?.server;
    const { port } = state.view();
    if (!isStarted || isStopped || server === undefined || port === undefined) return undefined;
    const host = WILDCARDS[server.bindAddr] ?? server.bindAddr;
    return {
      server: { host, port },
      token: server.token,
      user: '',
      clientId: '',
      metas: { node: config.node },
      poolCount: 1,
      tls: server.tls.force ? {} : undefined,
      tcpMux: true, // the server takes both
      keepaliveMs: server.keepaliveMs,
      additionalScopes: server.additionalScopes,
    };
  };

  const leave = (): void => {
    const client = running?.client;
    running = undefined;
    if (client !== undefined) stopping = Promise.all([stopping, client.stop()]).then(() => {});
  };

  const converge = (): void => {
    const wanted = wantedConfig();
    if (isDeepStrictEqual(wanted, running?.wanted)) return;
    leave();
    if (wanted === undefined) return;
    const client = deps.createClient(wanted);
    client.addProxy({ ...proxy, onConnection: accept });
    running = { wanted, client };
    client.start();
    log.info('publishing the sshd of this node', { proxy: proxy.name });
  };

  return {
    notify: converge,
    start() {
      isStarted = true;
      converge();
      return Promise.resolve();
    },
    async stop() {
      isStopped = true;
      leave();
      await stopping;
      for (const entry of open) entry.destroy();
    },
  };
}

/** What the Router is told; the same as a sidecar tells. */
function proxyOf({
  service,
  node,
  secret,
  isSealRequired,
}: OwnSshdConfig): Omit<ProxyDefinition, 'onConnection'> {
  const { name, namespace, port } = service;
  const key = `${name}.${namespace}`;
  const common = {
    name: `${key}.${node}`,
    type: 'stcp' as const,
    allowUsers: ['*'],
    confirm: true,
    metas: {
      ...service.metas,
      service: name,
      namespace,
      port: String(port),
      protocol: 'TCP',
      node,
      pod: node,
    },
  };
  if (secret === '') return { ...common, secretKey: '' };
  const { psk, accessKey } = createSealKeys().derive(secret, key);
  return {
    ...common,
    secretKey: isSealRequired ? accessKey : secret,
    seal: { service: key, port, psk, isRequired: isSealRequired },
  };
}
