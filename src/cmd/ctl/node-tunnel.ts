/** A connection to a node's sshd: finds the node, logs in to its Router for the time of the connection, asks for the service. */
import { NODE_MAINTENANCES, ROUTER_ANNOTATION, ROUTERS } from '../../api/edge.ts';
import type { NodeMaintenance, NodeMaintenanceSpecService, Router } from '../../api/gen/types.ts';
import type { ApiClient } from '../../apiclient/client.ts';
import { isLoopbackHost } from '../../lib/address.ts';
import type { Clock } from '../../lib/clock.ts';
import { EdgeError, errorMessage, UsageError } from '../../lib/errors.ts';
import { silentLogger } from '../../lib/log.ts';
import { stringOption, switchOption } from '../../lib/options.ts';
import type { OptionValues } from '../../lib/options.ts';
import { MAINTENANCE_NAMESPACE } from '../../sidecar/maintenance.ts';
import { selectRouters } from '../../sidecar/routers.ts';
import type { RouterView } from '../../sidecar/routers.ts';
import { NO_TOKENS, parseTokenFile, tokenFor } from '../../sidecar/tokens.ts';
import type { RouterTokens } from '../../sidecar/tokens.ts';
import type { ByteStream } from '../../tunnel/byte-stream.ts';
import { createFrpClient } from '../../tunnel/frpc/client.ts';
import type { FrpClient, VisitorRequest } from '../../tunnel/frpc/types.ts';
import { createSealKeys } from '../../tunnel/seal/keys.ts';
import { readTextFile } from '../options.ts';

/** Flags and variables that lead through a Router; the same as a sidecar's. */
export const tunnelOptions = {
  routerToken: stringOption({ description: 'token for Routers', env: 'EDGE_ROUTER_TOKEN', hasFlag: false }),
  routerTokenFile: stringOption({
    description: 'file that holds the token for Routers, or a YAML map of Router names to tokens',
    placeholder: 'FILE',
    env: 'EDGE_ROUTER_TOKEN_FILE',
  }),
  secretKey: stringOption({
    description: 'secret of the maintenance services',
    env: 'SIDECAR_SECRET_KEY',
    hasFlag: false,
  }),
  secretKeyFile: stringOption({
    description: 'file that holds the secret of the maintenance services',
    placeholder: 'FILE',
    env: 'SIDECAR_SECRET_KEY_FILE',
  }),
  requireSealed: switchOption({
    description: 'refuse connections that are not sealed from end to end, as the sidecar does',
    env: 'SIDECAR_REQUIRE_SEALED',
  }),
};

/** What it takes to get through. */
export interface TunnelCredentials {
  tokens: RouterTokens;
  secret: string;
  /** Whether connections must be sealed from end to end. */
  isSealRequired: boolean;
}

/** Where a node's sshd is. */
export interface NodeTarget {
  /** `SERVICE.NAMESPACE`. */
  service: string;
  router: string;
  host: string;
  port: number;
}

/** A Router that does not let us in by then is given up, milliseconds. */
const LOGIN_TIMEOUT_MS = 10_000;
const DEFAULT_TRANSPORT: RouterView['transport'] = {
  tcpMux: true,
  keepaliveMs: 30_000,
  maxPoolCount: 0,
  isTlsForced: false,
  additionalScopes: [],
};

/** Reads the files that flags and variables name; a value wins over a file. Throws UsageError. */
export function readCredentials(settings: OptionValues<typeof tunnelOptions>): TunnelCredentials {
  const { routerToken, routerTokenFile, secretKey, secretKeyFile } = settings;
  const tokens =
    routerToken !== undefined
      ? { ...NO_TOKENS, common: routerToken }
      : routerTokenFile === undefined
        ? NO_TOKENS
        : parseTokenFile(readTextFile(routerTokenFile, '--router-token-file'), routerTokenFile);
  const secret =
    secretKey ?? (secretKeyFile === undefined ? '' : readTextFile(secretKeyFile, '--secret-key-file').trim());
  const isSealRequired = settings.requireSealed;
  if (isSealRequired && secret === '')
    throw new UsageError('--require-sealed: there is no secret to seal with (--secret-key-file)');
  return { tokens, secret, isSealRequired };
}

/** The object and sshd of a node, by the node's name, its id or the object's name; throws when there is none, or no way. */
export function findNode(objects: readonly NodeMaintenance[], name: string): NodeTarget {
  const sshOf = ({ spec }: NodeMaintenance): NodeMaintenanceSpecService | undefined =>
    spec.services?.find(({ type }) => type === 'ssh') ?? spec.services?.[0];
  const found = objects.filter(
    (object) =>
      object.spec.nodeName === name || object.metadata.name === name || sshOf(object)?.uniqueID === name,
  );
  const stateOf = (object: NodeMaintenance): string =>
    object.status?.services?.find((service) => service.name === sshOf(object)?.name)?.status ?? 'offline';
  const object = found.find((each) => stateOf(each) === 'online') ?? found[0];
  if (object === undefined)
    throw new UsageError(`node "${name}" is not known`, { hint: '"edge ctl nodes" lists those that are' });
  const service = sshOf(object);
  const port = Number(service?.proxyPort ?? '');
  const host = service?.frpServerIpAddress ?? '';
  if (service === undefined || host === '' || !(port >= 1 && port <= 65_535))
    throw new EdgeError('EDGE_ERR_CTL_NODE_ADDRESS', `node "${name}" has no Router that leads to it`);
  if (stateOf(object) !== 'online')
    throw new EdgeError('EDGE_ERR_CTL_NODE_OFFLINE', `node "${name}" is offline`, {
      hint: 'is "edge sidecar --maintenance" running there, and its way to the Router free?',
      retryable: true,
    });
  return {
    service: `${service.name}.${MAINTENANCE_NAMESPACE}`,
    router: object.metadata.annotations?.[ROUTER_ANNOTATION] ?? '',
    host,
    port,
  };
}

/** An open connection; `close` ends the login too. */
export interface NodeConnection {
  stream: ByteStream;
  close(): Promise<void>;
}

/** Connects to the sshd of a node. Rejects when the node, the Router or the service cannot be reached. */
export async function connectNode(
  name: string,
  credentials: TunnelCredentials,
  deps: { api: ApiClient; clock: Clock; random: () => number },
): Promise<NodeConnection> {
  const { api, clock, random } = deps;
  const [objects, routers] = await Promise.all([
    api.list<NodeMaintenance>(NODE_MAINTENANCES),
    api.list<Router>(ROUTERS),
  ]);
  const target = findNode(objects.items, name);
  const { router, host, port, service } = target;
  const view = selectRouters(routers.items, { node: router, only: [] }).find((each) => each.name === router);
  const transport = view?.transport ?? DEFAULT_TRANSPORT;
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
    await login(client, target, clock);
    const stream = await client.openVisitor(visitorRequest(service, credentials));
    return { stream, close: () => client.stop() };
  } catch (err) {
    await client.stop();
    throw err;
  }
}

/** As sidecars ask: where sealing is required the Router sees a key derived from the secret, not the secret. */
function visitorRequest(service: string, { secret, isSealRequired }: TunnelCredentials): VisitorRequest {
  if (secret === '') return { proxyName: service, secretKey: '' };
  const { psk, accessKey } = createSealKeys().derive(secret, service);
  return {
    proxyName: service,
    secretKey: isSealRequired ? accessKey : secret,
    seal: { service, port: 0, psk, isRequired: isSealRequired },
  };
}

/** Rejects at the first failure: somebody waits in front of a terminal. */
function login(client: FrpClient, { router, host, port }: NodeTarget, clock: Clock): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      timer.cancel();
      const text = `cannot reach Router ${router} at ${host}:${port}: ${why}`;
      reject(new EdgeError('EDGE_ERR_CTL_ROUTER', text, { retryable: true }));
    };
    const timer = clock.after(LOGIN_TIMEOUT_MS, () => fail(`no answer in ${LOGIN_TIMEOUT_MS / 1000}s`));
    client.onChange(() => {
      if (client.phase === 'online') {
        timer.cancel();
        resolve();
      } else if (client.phase === 'refused' || client.phase === 'waiting') {
        fail(client.lastError === undefined ? client.phase : errorMessage(client.lastError));
      }
    });
    client.start();
  });
}
