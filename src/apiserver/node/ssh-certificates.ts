/** SSH user certificates over the node's own API: reads the request, signs, and tells the audit log for whom. */
import { badRequest } from '../../api/status.ts';
import { rfc3339 } from '../../lib/clock.ts';
import { identityOf } from '../handlers/context.ts';
import type { ApiContext } from '../handlers/context.ts';
import { jsonResponse } from '../handlers/respond.ts';
import type { SshAuthority } from '../pki/ssh-authority.ts';
import { readFields, secondsField, textField } from './requests.ts';
import type { Fields } from './requests.ts';

/** A certificate cannot be revoked, so it lives as long as a visit to a node takes. */
export const DEFAULT_SSH_TTL_SECONDS = 15 * 60;
const MAX_SSH_TTL_SECONDS = 24 * 3600;
/** A public RSA key of 16,384 bits has 2700 characters. */
const MAX_KEY_LENGTH = 4000;
const MAX_PRINCIPALS = 16;
const MAX_TEXT = 1000;
/** Names of accounts; a comma would be two of them to ssh-keygen, and sshd's patterns know `*`, `?` and `!`. */
const PRINCIPAL = /^[A-Za-z0-9_][-A-Za-z0-9_.@]{0,63}$/u;
const ADDRESS_LIST = /^[0-9A-Fa-f:.]+(?:\/\d{1,3})?(?:,[0-9A-Fa-f:.]+(?:\/\d{1,3})?)*$/u;

/** Answers a request for a certificate; who may ask was decided before. */
export async function issueSshCertificate(c: ApiContext, authority: SshAuthority): Promise<Response> {
  const fields = await readFields(c);
  const principals = principalsField(fields);
  const ttlMs = secondsField(fields, 'ttlSeconds', MAX_SSH_TTL_SECONDS, DEFAULT_SSH_TTL_SECONDS);
  const forceCommand = optionalField(fields, 'forceCommand');
  const sourceAddress = optionalField(fields, 'sourceAddress');
  if (sourceAddress !== undefined && !ADDRESS_LIST.test(sourceAddress))
    throw badRequest('sourceAddress: wanted addresses or networks with commas between them');
  const signed = authority.issue({
    publicKey: textField(fields, 'publicKey', MAX_KEY_LENGTH),
    principals,
    lifetimeMs: ttlMs,
    user: identityOf(c).username,
    forceCommand,
    sourceAddress,
  });
  const { certificate, serial, keyId } = signed;
  const validBefore = rfc3339(signed.validBefore);
  c.env.facts.details = { kind: 'ssh', serial, principals, validBefore };
  const validAfter = rfc3339(signed.validAfter);
  return jsonResponse({ certificate, serial, keyId, principals, validAfter, validBefore }, 201);
}

/** The accounts of a request. */
export function principalsField(fields: Fields): string[] {
  const { principals } = fields;
  const names = Array.isArray(principals) ? (principals as unknown[]) : [];
  const sound = names.filter((name): name is string => typeof name === 'string' && PRINCIPAL.test(name));
  if (sound.length === 0 || sound.length !== names.length || sound.length > MAX_PRINCIPALS)
    throw badRequest(`principals: wanted 1 to ${MAX_PRINCIPALS} names of accounts`);
  return sound;
}

function optionalField(fields: Fields, key: string): string | undefined {
  if (fields[key] === undefined) return undefined;
  const text = textField(fields, key, MAX_TEXT);
  if (/\p{Cc}/u.test(text)) throw badRequest(`${key}: it has control characters`);
  return text;
}
