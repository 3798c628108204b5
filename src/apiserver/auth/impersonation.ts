/** Acting as somebody else (`kubectl --as`): for administrators, who learn so what a role may do; refused to all others. */
import { badRequest, forbidden } from '../../api/status.ts';
import { rolesOfGroups } from './roles.ts';
import type { Identity } from './roles.ts';

const PREFIX = 'impersonate-';
const AUTHENTICATED = 'system:authenticated';

/** Whether headers as they came may ask for it: a look that costs less than taking them apart. */
export function mayImpersonate(rawHeaders: readonly string[]): boolean {
  return rawHeaders.some((text) => text.slice(0, PREFIX.length).toLowerCase() === PREFIX);
}

/**
 * Who a request acts as. The request's headers may ask for another identity; it has what its groups give, and nothing of
 * the administrator's. Throws a 400 or 403 Status: a request whose wish cannot be met must not run as its sender.
 */
export function impersonate(identity: Identity, headers: Headers): Identity {
  const asked = [...headers.keys()].filter((name) => name.startsWith(PREFIX));
  if (asked.length === 0) return identity;
  const username = headers.get(`${PREFIX}user`) ?? '';
  if (username === '') throw badRequest(`${asked.join(', ')} without Impersonate-User`);
  if (!identity.roles.includes('admin')) {
    throw forbidden({
      user: identity.username,
      verb: 'impersonate',
      group: '',
      resource: 'users',
      name: username,
    });
  }
  const groups = (headers.get(`${PREFIX}group`) ?? '')
    .split(',')
    .map((group) => group.trim())
    .filter((group) => group !== '' && group !== AUTHENTICATED);
  const uid = headers.get(`${PREFIX}uid`);
  return {
    username,
    ...(uid === null ? {} : { uid }),
    groups: [...groups, AUTHENTICATED],
    roles: rolesOfGroups(groups),
    impersonatedBy: identity.username,
  };
}
