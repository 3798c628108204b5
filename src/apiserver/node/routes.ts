/** The node's own API under /edge/v1, beside the Kubernetes paths: backups, certificates and join tokens. */
import { createHash, X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { forbidden, statusError, unauthorized } from '../../api/status.ts';
import { authorize, ROLES } from '../auth/roles.ts';
import type { Role } from '../auth/roles.ts';
import { identityOf } from '../handlers/context.ts';
import type { ApiContext, ApiDeps } from '../handlers/context.ts';
import { jsonResponse, textResponse } from '../handlers/respond.ts';
import { isSignedBy } from '../pki/authority.ts';
import type { KeyPair } from '../pki/key-pair.ts';
import type { SshAuthority } from '../pki/ssh-authority.ts';
import type { DurableStore } from '../store/durable-store.ts';
import type { Routes } from '../routes.ts';
import type { IssuedCertificates } from './issued.ts';
import type { JoinTokens } from './join-tokens.ts';
import { issueSshCertificate } from './ssh-certificates.ts';
import { nodeField, readFields, roleField, secondsField, textField } from './requests.ts';
import { sendBackup, takeRestore } from './state.ts';

/** What the node's own API works with. */
export interface NodeDeps {
  store: DurableStore;
  tokens: JoinTokens;
  issued: IssuedCertificates;
  /** Signs client certificates; undefined on plain HTTP. */
  authority: () => KeyPair | undefined;
  /** Signs SSH user certificates; undefined on plain HTTP, where every local user would be root on the nodes. */
  sshAuthority: () => SshAuthority | undefined;
  /** What clients must trust to reach this server, PEM; undefined when the system's authorities are enough. */
  trust: () => string | undefined;
}

/** A joining node never becomes an administrator. */
const JOIN_ROLES: readonly Role[] = ROLES.filter((role) => role !== 'admin');
const DEFAULT_TTL_SECONDS = 3600;
const MAX_TTL_SECONDS = 7 * 24 * 3600;
const MAX_KEY_LENGTH = 2000;
/** The API group of these permissions; only a role that may do everything has it. */
const GROUP = 'node.edge.example.com';

/** SHA-256 of a certificate's public key (SubjectPublicKeyInfo), hex: what a join token pins. */
export function publicKeyHash(certificatePem: string): string {
  const { publicKey } = new X509Certificate(certificatePem);
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}

function label(c: ApiContext, verb: string, resource: string): void {
  c.env.facts.verb = verb;
  c.env.facts.resource = `node/${resource}`;
}

/** Paths that work without credentials: they give what is public, or take a join token. */
export function addOpenNodeRoutes(routes: Routes, joining: Routes, node: NodeDeps, name: string): void {
  routes.get('/edge/v1/ca', (c) => {
    label(c, 'get', 'ca');
    const trust = node.trust();
    if (trust === undefined) throw statusError('NotFound', 'this server needs no authority of its own');
    return textResponse(trust, 200, 'application/x-pem-file');
  });
  routes.get('/edge/v1/ssh-ca', (c) => {
    label(c, 'get', 'ssh-ca');
    const authority = node.sshAuthority();
    if (authority === undefined) throw statusError('NotFound', 'this server has no authority of its own');
    return textResponse(`${authority.publicKey(`edge-ssh-ca@${name}`)}\n`, 200, 'text/plain; charset=utf-8');
  });
  joining.post('/edge/v1/join', async (c) => {
    label(c, 'create', 'join');
    const token = /^bearer +(\S+)$/iu.exec(c.req.header('authorization') ?? '')?.[1];
    if (token === undefined) throw unauthorized();
    const fields = await readFields(c);
    const name = nodeField(fields);
    c.env.facts.name = name;
    const publicKey = textField(fields, 'publicKey', MAX_KEY_LENGTH);
    const grant = await node.tokens.redeem(token, name);
    c.env.facts.identity = { username: `join-token:${grant.id}`, groups: [], roles: [] };
    const by = `join-token ${grant.id}`;
    const certificate = await node.issued.issue({ node: name, role: grant.role, publicKey, by });
    return jsonResponse({ node: name, role: grant.role, certificate, ca: node.trust() }, 201);
  });
}

/** Paths for administrators, and the renewal of one's own certificate. */
export function addNodeRoutes(routes: Routes, deps: ApiDeps, node: NodeDeps): void {
  const allow = (c: ApiContext, verb: string, resource: string): void => {
    label(c, verb, resource);
    const identity = identityOf(c);
    const attributes = { verb, group: GROUP, resource };
    if (!authorize(identity, attributes, deps.node).allowed)
      throw forbidden({ user: identity.username, ...attributes });
  };
  routes.get('/edge/v1/backup', (c) => {
    allow(c, 'get', 'backup');
    return sendBackup(deps, node.store);
  });
  routes.post('/edge/v1/restore', (c) => {
    allow(c, 'create', 'restore');
    return takeRestore(c, deps, node.store);
  });
  routes.post('/edge/v1/jointokens', async (c) => {
    allow(c, 'create', 'jointokens');
    const fields = await readFields(c);
    const ttlMs = secondsField(fields, 'ttlSeconds', MAX_TTL_SECONDS, DEFAULT_TTL_SECONDS);
    const role = roleField({ role: 'syncer', ...fields }, JOIN_ROLES);
    const only = fields['node'] === undefined ? undefined : nodeField(fields);
    const trust = node.trust();
    if (trust === undefined)
      throw statusError('BadRequest', 'join tokens pin an authority, and this server has none of its own');
    const { grant, token } = await node.tokens.create({ role, node: only }, ttlMs);
    return jsonResponse({ ...grant, token: `${token}.${publicKeyHash(trust)}` }, 201);
  });
  routes.get('/edge/v1/certificates', async (c) => {
    allow(c, 'list', 'certificates');
    return jsonResponse({ items: await node.issued.list() });
  });
  routes.post('/edge/v1/certificates', async (c) => {
    allow(c, 'create', 'certificates');
    const fields = await readFields(c);
    const subject = { node: nodeField(fields), role: roleField(fields) };
    c.env.facts.name = subject.node;
    const publicKey = textField(fields, 'publicKey', MAX_KEY_LENGTH);
    const certificate = await node.issued.issue({ ...subject, publicKey, by: identityOf(c).username });
    return jsonResponse({ ...subject, certificate, ca: node.trust() }, 201);
  });
  routes.post('/edge/v1/certificates/ssh', async (c) => {
    allow(c, 'create', 'certificates');
    const authority = node.sshAuthority();
    if (authority === undefined)
      throw statusError('BadRequest', 'this server has no authority: it serves plain HTTP');
    return issueSshCertificate(c, authority);
  });
  routes.post('/edge/v1/certificates/renew', async (c) => {
    label(c, 'update', 'certificates');
    const subject = ownSubject(c, node);
    c.env.facts.name = subject.node;
    const publicKey = textField(await readFields(c), 'publicKey', MAX_KEY_LENGTH);
    const certificate = await node.issued.issue({ ...subject, publicKey, by: identityOf(c).username });
    return jsonResponse({ ...subject, certificate, ca: node.trust() }, 201);
  });
}

/** The subject of the certificate that a request came with; throws a 403 Status when this node did not sign it. */
function ownSubject(c: ApiContext, node: NodeDeps): { node: string; role: Role } {
  const { username, groups } = identityOf(c);
  const raw = (c.env.incoming?.socket as Partial<TLSSocket> | undefined)?.getPeerCertificate?.()?.raw;
  const authority = node.authority();
  const [, role, name] = /^edge:([a-z]+):(.+)$/u.exec(username) ?? [];
  const known = ROLES.find((entry) => entry === role);
  const isOwn =
    authority !== undefined && raw !== undefined && isSignedBy(new X509Certificate(raw), authority);
  if (!isOwn || known === undefined || name === undefined || !groups.includes(`edge:${known}`)) {
    const why = 'only client certificates of this node can be renewed';
    throw forbidden({ user: username, verb: 'update', group: GROUP, resource: 'certificates', why });
  }
  return { node: name, role: known };
}
