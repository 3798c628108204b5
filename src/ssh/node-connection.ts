/**
 * A connection to a node's sshd through its Router: logs in for the time of the connection and asks for the service.
 * Used by `edge ctl` and by the API server's adapter, which bring the objects; nothing here speaks to an API server.
 */
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import type { Router } from '../api/gen/types.ts';
import { tokenFor } from '../api/router-tokens.ts';
import type { RouterTokens } from '../api/router-tokens.ts';
import { transportOf } from '../api/router-transport.ts';
import { isLoopbackHost } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { EdgeError, errorMessage } from '../lib/errors.ts';
import { silentLogger } from '../lib/log.ts';
import type { ByteStream } from '../tunnel/byte-stream.ts';
import { createFrpClient } from '../tunnel/frpc/client.ts';
import type { FrpClient, VisitorRequest } from '../tunnel/frpc/types.ts';
import { createSealKeys } from '../tunnel/seal/keys.ts';
import { socketStream } from '../tunnel/socket-stream.ts';
import type { NodeTarget } from './node-target.ts';

/** What it takes to get through a Router to a node's sshd. */
export interface TunnelCredentials {
  tokens: RouterTokens;
  /** The secret of the maintenance services; empty for none. */
  secret: string;
  /** Whether connections must be sealed from end to end. */
  isSealRequired: boolean;
}

/** An open connection; `close` ends the login too. */
export interface NodeConnection {
  /** The bytes of the node's sshd; begins paused, and belongs to the caller. */
  stream: ByteStream;
  /** Idempotent; never rejects. */
  close(): Promise<void>;
}

/** A Router that does not let us in by then is given up, milliseconds. */
const LOGIN_TIMEOUT_MS = 10_000;
/** Stretching a secret is slow on purpose; connections to many nodes share the result. */
const sealKeys = createSealKeys();

/**
 * Connects to the sshd of a node. `routers` are the Router objects that are known: the one that leads to the node says
 * how it wants to be spoken to. Rejects when the Router or the service cannot be reached; nothing is left open then.
 */
export async function connectNode(
  target: NodeTarget,
  routers: readonly Router[],
  credentials: TunnelCredentials,
  deps: { clock: Clock; random: () => number; signal?: AbortSignal },
): Promise<NodeConnection> {
  const { clock, random, signal } = deps;
  const { router, host, port, service } = target;
  if (service === undefined) return dialSshd(target);
  const transport = transportOf(routers.find(({ metadata }) => metadata.name === router)?.spec);
  const client = createFrpClient(
    {
      server: { host, port },
      token: tokenFor(credentials.tokens, router),
      user: '',
      clientId: '',
      metas: {},
      poolCount: 0,
      tls: transport.isTlsForced || !isLoopbackHost(host) ? {} : undefined,
      tcpMux: transport.tcpMux,
      keepaliveMs: transport.keepaliveMs,
      additionalScopes: transport.additionalScopes,
    },
    { clock, random, log: silentLogger },
  );
  try {
    await login(client, target, clock, signal);
    const stream = await client.openVisitor(visitorRequest(service, credentials), signal);
    return { stream, close: () => client.stop() };
  } catch (err) {
    await client.stop();
    throw err;
  }
}

/** Connects to a port that is the sshd itself. */
async function dialSshd({ node, host, port }: NodeTarget): Promise<NodeConnection> {
  const socket = await new Promise<Socket>((resolve, reject) => {
    const dialled = connect({ host, port, allowHalfOpen: true, noDelay: true, keepAlive: true });
    const fail = (why: string): void => {
      dialled.destroy();
      const text = `cannot reach the sshd of ${node} at ${host}:${port}: ${why}`;
      reject(new EdgeError('EDGE_ERR_SSH_ROUTER', text, { retryable: true }));
    };
    dialled.setTimeout(LOGIN_TIMEOUT_MS, () => fail(`no answer in ${LOGIN_TIMEOUT_MS / 1000}s`));
    dialled.once('error', (err) => fail(errorMessage(err)));
    dialled.once('connect', () => {
      dialled.removeAllListeners('error').removeAllListeners('timeout').setTimeout(0);
      resolve(dialled);
    });
  });
  const stream = socketStream(socket);
  return {
    stream,
    close() {
      stream.destroy();
      return Promise.resolve();
    },
  };
}

/** As sidecars ask: where sealing is required the Router sees a key derived from the secret, not the secret. */
function visitorRequest(service: string, { secret, isSealRequired }: TunnelCredentials): VisitorRequest {
  if (secret === '') return { proxyName: service, secretKey: '' };
  const { psk, accessKey } = sealKeys.derive(secret, service);
  return {
    proxyName: service,
    secretKey: isSealRequired ? accessKey : secret,
    seal: { service, port: 0, psk, isRequired: isSealRequired },
  };
}

/** Rejects at the first failure: somebody waits in front of a terminal. */
function login(
  client: FrpClient,
  { router, host, port }: NodeTarget,
  clock: Clock,
  signal: AbortSignal | undefined,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const settled = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    };
    const fail = (why: string): void => {
      settled();
      const text = `cannot reach Router ${router} at ${host}:${port}: ${why}`;
      reject(new EdgeError('EDGE_ERR_SSH_ROUTER', text, { retryable: true }));
    };
    const timer = clock.after(LOGIN_TIMEOUT_MS, () => fail(`no answer in ${LOGIN_TIMEOUT_MS / 1000}s`));
    const onAbort = (): void => fail('given up');
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted === true) onAbort();
    client.onChange(() => {
      if (client.phase === 'online') {
        settled();
        resolve();
      } else if (client.phase === 'refused' || client.phase === 'waiting') {
        fail(client.lastError === undefined ? client.phase : errorMessage(client.lastError));
      }
    });
    client.start();
  });
}
