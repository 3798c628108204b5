/** What the audit log says about a request: who, what, the outcome and how long it took; never bodies or credentials. */
import type { Clock } from '../lib/clock.ts';
import { ANONYMOUS } from './audit.ts';
import type { AuditEntry } from './audit.ts';
import type { ApiContext } from './handlers/context.ts';
import { isObjectName } from '../api/names.ts';

/** Methods that change something. */
const WRITE_METHODS: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);
/** Answers that refuse a client: no or wrong credentials, not allowed, too much. */
const DENIED_CODES: ReadonlySet<number> = new Set([401, 403, 429]);
const MAX_TEXT = 256;

/** Whether a request is recorded: every write of a resource, every denied request, every use of the node's own API. */
export function isAudited(c: ApiContext, code: number): boolean {
  if (DENIED_CODES.has(code)) return true;
  const resource = c.env.facts.resource;
  return resource !== undefined && (WRITE_METHODS.has(c.req.method) || resource.startsWith('node/'));
}

/** The entry of a finished request. */
export function auditEntry(
  c: ApiContext,
  outcome: { verb: string; resource: string; code: number; ms: number },
  clock: Clock,
): AuditEntry {
  const { verb, resource, code, ms } = outcome;
  // requests that were refused early have none of these
  const { identity, name, dryRun, reason, details } = c.env.facts;
  const address = c.env.incoming?.socket.remoteAddress;
  const userAgent = c.req.header('user-agent');
  return {
    time: clock.wallNow().toISOString(),
    user: identity?.impersonatedBy ?? identity?.username ?? ANONYMOUS,
    ...(identity?.impersonatedBy === undefined ? {} : { impersonatedUser: identity.username }),
    groups: identity?.groups ?? [],
    verb,
    resource,
    // the path without its query, where a mistaken client may have put a secret
    ...(resource === 'other' ? { method: c.req.method, path: c.req.path.slice(0, MAX_TEXT) } : {}),
    ...(name !== undefined && isObjectName(name) ? { name } : {}),
    ...(dryRun === true ? { dryRun: true } : {}),
    code,
    ...(reason === undefined ? {} : { reason }),
    ...(details === undefined ? {} : { details }),
    ms: Math.round(ms * 10) / 10,
    ...(address === undefined ? {} : { sourceIP: address }),
    ...(userAgent === undefined ? {} : { userAgent: userAgent.slice(0, MAX_TEXT) }),
  };
}
