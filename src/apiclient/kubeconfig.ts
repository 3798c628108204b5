/** Kubeconfig files: finds the chosen context and gives what is needed to talk to its server. */
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, dirname, resolve } from 'node:path';
import { EdgeError, errorMessage, UsageError } from '../lib/errors.ts';
import { parseYaml } from '../lib/yaml.ts';
import { isRecord } from '../lib/json.ts';

/** How to reach an API server and who to be there. */
export interface ClusterAccess {
  /** `https://HOST:PORT`, `http://HOST:PORT` or `unix:///PATH`; a path after the port is a prefix of every request. */
  server: string;
  /** PEM of the authorities that may sign the server's certificate; the system's when absent. */
  ca?: string;
  /** PEM of the client certificate and its key. */
  cert?: string;
  key?: string;
  /** Bearer token. */
  token?: string;
  /** The name the server's certificate must carry, when it is not the host of `server`. */
  serverName?: string;
  insecureSkipVerify?: boolean;
  /** The kubeconfig the access came from, re-read when it changes. */
  source?: string;
  /** The context chosen in `source`; its current one when absent. */
  context?: string;
  /** Every file that went in: `source`, token and certificate files. */
  files?: readonly string[];
}

interface Entry {
  values: Record<string, unknown>;
  /** The file it stands in; its relative paths start there. */
  file: string;
}

interface Kubeconfig {
  currentContext: string | undefined;
  clusters: Map<string, Entry>;
  users: Map<string, Entry>;
  contexts: Map<string, Entry>;
}

function configError(message: string, hint?: string): EdgeError {
  return new EdgeError('EDGE_ERR_API_KUBECONFIG', message, hint === undefined ? {} : { hint });
}

function addFile(config: Kubeconfig, text: string, source: string): void {
  const value = parseYaml(text, source);
  if (!isRecord(value))
    throw configError(`${source}: not a kubeconfig: wanted a map with clusters, users and contexts`);
  const current = value['current-context'];
  if (typeof current === 'string' && current !== '') config.currentContext ??= current;
  const sections = [
    ['clusters', 'cluster', config.clusters],
    ['users', 'user', config.users],
    ['contexts', 'context', config.contexts],
  ] as const;
  for (const [section, key, into] of sections) {
    const entries = value[section] ?? [];
    if (!Array.isArray(entries)) throw configError(`${source}: ${section}: wanted a list`);
    for (const [at, entry] of (entries as unknown[]).entries()) {
      if (!isRecord(entry) || typeof entry['name'] !== 'string')
        throw configError(`${source}: ${section}[${at}]: has no name`);
      const body = entry[key] ?? {};
      if (!isRecord(body)) throw configError(`${source}: ${section}[${at}].${key}: wanted a map`);
      // The first file that names something wins, as with kubectl.
      if (!into.has(entry['name'])) into.set(entry['name'], { values: body, file: source });
    }
  }
}

function textField(entry: Entry, key: string): string | undefined {
  const value = entry.values[key];
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value !== 'string') throw configError(`${entry.file}: ${key}: wanted a text`);
  return value;
}

/** The content of `KEY-data` (base64) or of the file `KEY` names. */
function pemField(entry: Entry, key: string, files: string[]): string | undefined {
  const data = textField(entry, `${key}-data`);
  if (data !== undefined) {
    const pem = Buffer.from(data, 'base64').toString('utf8');
    if (!pem.includes('-----BEGIN'))
      throw configError(`${entry.file}: ${key}-data: not base64 of a PEM block`);
    return pem;
  }
  const path = textField(entry, key);
  return path === undefined
    ? undefined
    : readNamed(resolve(dirname(entry.file), path), `${entry.file}: ${key}`, files);
}

function readNamed(path: string, what: string, files: string[]): string {
  files.push(path);
  try {
    return readFileSync(path, 'utf8');
  } catch (err) {
    throw new EdgeError(
      'EDGE_ERR_API_KUBECONFIG',
      `${what}: cannot read ${path}: ${errorMessage(err).replace(`${path}: `, '')}`,
      {
        cause: err,
      },
    );
  }
}

function choose(config: Kubeconfig, source: string, contextName: string | undefined): ClusterAccess {
  const name =
    contextName ??
    config.currentContext ??
    (config.contexts.size === 1 ? [...config.contexts.keys()][0] : undefined);
  if (name === undefined) {
    throw configError(
      `${source}: has no current-context`,
      'choose one with --context, or set current-context in the file',
    );
  }
  const context = config.contexts.get(name);
  if (context === undefined) {
    const known = [...config.contexts.keys()].join(', ');
    throw configError(`${source}: has no context "${name}"`, known === '' ? undefined : `it has ${known}`);
  }
  const clusterName = textField(context, 'cluster') ?? '';
  const cluster = config.clusters.get(clusterName);
  if (cluster === undefined)
    throw configError(`${source}: context "${name}" names cluster "${clusterName}", which is not there`);
  const userName = textField(context, 'user');
  const user = userName === undefined ? { values: {}, file: source } : config.users.get(userName);
  if (user === undefined)
    throw configError(`${source}: context "${name}" names user "${userName ?? ''}", which is not there`);
  const files = [...new Set([context.file, cluster.file, user.file])];
  const access = accessOf(cluster, user, files);
  return { ...access, source, ...(contextName === undefined ? {} : { context: contextName }), files };
}

function accessOf(cluster: Entry, user: Entry, files: string[]): ClusterAccess {
  const server = textField(cluster, 'server');
  if (server === undefined) throw configError(`${cluster.file}: the cluster has no server`);
  for (const key of ['exec', 'auth-provider']) {
    if (user.values[key] !== undefined) {
      throw configError(
        `${user.file}: users with "${key}" are not supported`,
        'use a token, a tokenFile or a client certificate',
      );
    }
  }
  const tokenFile = textField(user, 'tokenFile');
  const found = {
    ca: pemField(cluster, 'certificate-authority', files),
    serverName: textField(cluster, 'tls-server-name'),
    cert: pemField(user, 'client-certificate', files),
    key: pemField(user, 'client-key', files),
    // tokenFile wins over token, as in client-go: the file is the one that gets renewed
    token:
      tokenFile === undefined
        ? textField(user, 'token')
        : readNamed(resolve(dirname(user.file), tokenFile), `${user.file}: tokenFile`, files).trim(),
  };
  if ((found.cert === undefined) !== (found.key === undefined)) {
    throw configError(`${user.file}: client-certificate and client-key must come together`);
  }
  return {
    server: checkServer(server, cluster.file),
    ...present(found),
    ...(cluster.values['insecure-skip-tls-verify'] === true ? { insecureSkipVerify: true } : {}),
  };
}

type Present<T> = { [Key in keyof T]?: Exclude<T[Key], undefined> };

function present<T extends Record<string, unknown>>(fields: T): Present<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;
}

/** Checks the form of a server address and drops a trailing slash; `what` names the flag or file in the error. */
export function checkServer(server: string, what: string): string {
  const isUnix = server.startsWith('unix:///');
  if (!isUnix && (!/^https?:\/\//u.test(server) || !URL.canParse(server))) {
    throw new UsageError(
      `${what}: "${server}" is not an address of the form https://HOST:PORT, http://HOST:PORT or unix:///PATH`,
    );
  }
  return isUnix ? server : server.replace(/\/+$/u, '');
}

/**
 * The access that a kubeconfig's context describes. Throws EDGE_ERR_API_KUBECONFIG (or EDGE_ERR_YAML_PARSE)
 * that names `source` and the entry at fault. Relative paths start at the directory of `source`.
 */
export function parseKubeconfig(text: string, source: string, contextName?: string): ClusterAccess {
  const config: Kubeconfig = {
    currentContext: undefined,
    clusters: new Map(),
    users: new Map(),
    contexts: new Map(),
  };
  addFile(config, text, source);
  return choose(config, source, contextName);
}

/** Reads a kubeconfig, or several separated as in KUBECONFIG, where missing files are passed over. */
export function readKubeconfig(paths: string, contextName?: string): ClusterAccess {
  const all = paths.split(delimiter).filter((path) => path !== '');
  const [only] = all;
  const config: Kubeconfig = {
    currentContext: undefined,
    clusters: new Map(),
    users: new Map(),
    contexts: new Map(),
  };
  for (const path of all) {
    if (all.length > 1 && !existsSync(path)) continue;
    addFile(config, readNamed(path, 'kubeconfig', []), path);
  }
  return choose(config, all.length === 1 && only !== undefined ? only : paths, contextName);
}

/** What a user may say about the API server; see the command line reference. */
export interface AccessSettings {
  kubeconfig?: string | undefined;
  context?: string | undefined;
  server?: string | undefined;
  tokenFile?: string | undefined;
  caFile?: string | undefined;
  clientCert?: string | undefined;
  clientKey?: string | undefined;
  /** Kubeconfigs to try, in order, when nothing else is set. */
  defaultKubeconfigs: readonly string[];
}

const SERVICE_ACCOUNT_DIR = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Finds the API server: the server or kubeconfig that was named, a pod's service account, or the first default
 * kubeconfig that exists. Reads files anew on every call. Throws UsageError or EDGE_ERR_API_KUBECONFIG.
 */
export function loadAccess(
  settings: AccessSettings,
  env: NodeJS.ProcessEnv = process.env,
): Promise<ClusterAccess> {
  return Promise.resolve().then(() => findAccess(settings, env));
}

function findAccess(settings: AccessSettings, env: NodeJS.ProcessEnv): ClusterAccess {
  const files: string[] = [];
  const read = (path: string | undefined, what: string) =>
    path === undefined ? undefined : readNamed(path, what, files);
  const given = {
    ca: read(settings.caFile, 'CA file'),
    cert: read(settings.clientCert, 'client certificate'),
    key: read(settings.clientKey, 'client key'),
    token: read(settings.tokenFile, 'token file')?.trim(),
  };
  if ((given.cert === undefined) !== (given.key === undefined)) {
    throw new UsageError('--client-cert and --client-key must come together');
  }
  if (settings.server !== undefined) {
    const server = checkServer(settings.server, '--server');
    return { server, ...present(given), files };
  }
  const base =
    settings.kubeconfig === undefined
      ? defaultAccess(settings, env)
      : readKubeconfig(settings.kubeconfig, settings.context);
  return { ...base, ...present(given), files: [...(base.files ?? []), ...files] };
}

function defaultAccess(settings: AccessSettings, env: NodeJS.ProcessEnv): ClusterAccess {
  const host = env['KUBERNETES_SERVICE_HOST'];
  const tokenFile = `${SERVICE_ACCOUNT_DIR}/token`;
  if (host !== undefined && host !== '' && existsSync(tokenFile)) {
    const port = env['KUBERNETES_SERVICE_PORT'] ?? '443';
    const files: string[] = [];
    return {
      server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
      ca: readNamed(`${SERVICE_ACCOUNT_DIR}/ca.crt`, 'service account', files),
      token: readNamed(tokenFile, 'service account', files).trim(),
      files,
    };
  }
  const found = settings.defaultKubeconfigs.find((path) => existsSync(path));
  if (found !== undefined) return readKubeconfig(found, settings.context);
  const wanted = settings.defaultKubeconfigs.join(' or ');
  throw new EdgeError('EDGE_ERR_API_NO_ACCESS', `no API server is configured: there is no ${wanted}`, {
    hint: 'start "edge apiserver", which writes that file, or give --kubeconfig FILE or --server URL',
    retryable: true,
  });
}
