/** Who may use the adapter: callers with a token; without one those of the same machine, where that is enough. */
import { isIP } from 'node:net';
import { statusError, unauthorized } from '../../api/status.ts';
import type { Credentials } from '../auth/authenticator.ts';
import type { Identity, Role } from '../auth/roles.ts';

/** Who was let in. */
export interface Admission {
  identity: Identity;
  /** Whether a token says so; else it is anybody on this machine. */
  isVerified: boolean;
}

/** What is looked at of a request. */
export interface Applicant {
  authorization: string | undefined;
  origin: string | undefined;
  host: string | undefined;
}

/** The rules of one listener. */
export interface AdmissionRules {
  /** Throws a 401 Status. */
  authenticate: (credentials: Credentials) => Identity;
  /** Whether callers without a token are let in: on loopback addresses. */
  isOpen: boolean;
  /** Origins of web pages beside the listener's own. */
  origins: readonly string[];
}

const LOCAL: Identity = { username: 'edge:adapter', groups: [], roles: ['admin'] };

/** Lets a caller in, or throws a 401 or 403 Status. */
export function admit(applicant: Applicant, roles: readonly Role[], rules: AdmissionRules): Admission {
  checkOrigin(applicant, rules);
  const { authorization, host } = applicant;
  if (authorization === undefined) {
    if (!rules.isOpen) throw unauthorized();
    // a page elsewhere may point its own name here (DNS rebinding); nobody else uses names for loopback
    if (!isLocalName(host)) throw statusError('Forbidden', 'this host name is not served without a token');
    return { identity: LOCAL, isVerified: false };
  }
  // the transport that asks for a token; client certificates do not come this way
  const identity = rules.authenticate({ transport: 'https', authorization, incoming: undefined });
  if (!identity.roles.some((role) => roles.includes(role)))
    throw statusError('Forbidden', `user "${identity.username}" has none of the roles ${roles.join(', ')}`);
  return { identity, isVerified: true };
}

/** Throws a 403 Status for web pages of other origins. Programs send no Origin. */
export function checkOrigin({ origin, host }: Applicant, { origins }: Pick<AdmissionRules, 'origins'>): void {
  if (origin === undefined || origins.includes(origin)) return;
  const own = URL.canParse(origin) ? new URL(origin).host : undefined;
  if (own === undefined || own === '' || own !== host?.toLowerCase())
    throw statusError('Forbidden', 'not for web pages of another origin');
}

function isLocalName(host: string | undefined): boolean {
  const name = (host ?? 'localhost').replace(/:\d+$/u, '').replaceAll(/[[\]]/gu, '');
  return name.toLowerCase() === 'localhost' || isIP(name) !== 0;
}
