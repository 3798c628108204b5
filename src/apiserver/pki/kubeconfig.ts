/** The kubeconfigs of the roles: each with its own client certificate, rewritten when anything in them is out of date. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../../lib/atomic-file.ts';
import { formatYaml, parseYaml } from '../../lib/yaml.ts';
import { ROLES } from '../auth/roles.ts';
import type { Role } from '../auth/roles.ts';
import { isSignedBy, LEAF_LIFETIME_MS } from './authority.ts';
import type { PkiDeps } from './authority.ts';
import { isFresh, parseCertificate } from './key-pair.ts';
import type { KeyPair } from './key-pair.ts';

/** What the kubeconfigs lead to. */
export interface KubeconfigTarget {
  dataDir: string;
  node: string;
  /** `https://127.0.0.1:7443`. */
  server: string;
  /** Signs the client certificates; absent on plain HTTP, and when the operator brings certificates. */
  authority: KeyPair | undefined;
  /** What clients trust, PEM; absent on plain HTTP. */
  trust: string | undefined;
}

interface Kubeconfig {
  clusters: { name: string; cluster: Record<string, string> }[];
  users: { name: string; user: Record<string, string> }[];
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}

/** Writes `<data-dir>/<role>.kubeconfig`, mode 0600, for every role whose file is missing or out of date. */
export async function ensureKubeconfigs(target: KubeconfigTarget, deps: PkiDeps): Promise<void> {
  for (const role of ROLES) {
    const path = join(target.dataDir, `${role}.kubeconfig`);
    const found = await readKubeconfig(path);
    const user = validUser(found, role, target, deps.clock.wallNow());
    if (user !== undefined && hasCluster(found, target)) continue;
    // a new port or address alone keeps the certificate: making one costs more than the rest of a start
    await writeFileAtomic(
      path,
      renderKubeconfig(role, target, user ?? (await makeUser(role, target, deps))),
      0o600,
    );
    deps.log.info('kubeconfig written', { file: path, server: target.server });
  }
}

async function readKubeconfig(path: string): Promise<Kubeconfig | undefined> {
  try {
    return parseYaml(await readFile(path, 'utf8'), path) as Kubeconfig;
  } catch {
    return undefined; // missing or unreadable: it is written anew
  }
}

function hasCluster(found: Kubeconfig | undefined, target: KubeconfigTarget): boolean {
  const cluster = found?.clusters?.[0]?.cluster;
  const trust = target.trust === undefined ? undefined : base64(target.trust);
  return cluster?.['server'] === target.server && cluster['certificate-authority-data'] === trust;
}

/** The credentials of a kubeconfig when they may go on being used. */
function validUser(
  found: Kubeconfig | undefined,
  role: Role,
  target: KubeconfigTarget,
  now: Date,
): Record<string, string> | undefined {
  const user = found?.users?.[0]?.user;
  const data = user?.['client-certificate-data'];
  if (target.authority === undefined) return user !== undefined && data === undefined ? user : undefined;
  const certificate =
    data === undefined ? undefined : parseCertificate(Buffer.from(data, 'base64').toString());
  const isValid =
    certificate !== undefined &&
    isFresh(certificate, now) &&
    isSignedBy(certificate, target.authority) &&
    certificate.subject.split('\n').includes(`CN=${clientUserName(role, target.node)}`);
  return isValid ? user : undefined;
}

/** The common name of a client certificate that this program makes. */
export function clientUserName(role: Role, node: string): string {
  return `edge:${role}:${node}`;
}

async function makeUser(
  role: Role,
  target: KubeconfigTarget,
  deps: PkiDeps,
): Promise<Record<string, string>> {
  if (target.authority === undefined) return {};
  const { issue } = await import('./certificates.ts');
  const pair = await issue(target.authority, {
    subject: { commonName: clientUserName(role, target.node), organizations: [`edge:${role}`] },
    usage: 'client',
    names: [],
    now: deps.clock.wallNow(),
    lifetimeMs: LEAF_LIFETIME_MS,
  });
  return { 'client-certificate-data': base64(pair.certificate), 'client-key-data': base64(pair.key) };
}

function renderKubeconfig(role: Role, target: KubeconfigTarget, user: Record<string, string>): string {
  const { server, trust } = target;
  const cluster = { server, ...(trust === undefined ? {} : { 'certificate-authority-data': base64(trust) }) };
  return formatYaml({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'edge', cluster }],
    users: [{ name: role, user }],
    contexts: [{ name: 'edge', context: { cluster: 'edge', user: role } }],
    'current-context': 'edge',
  });
}
