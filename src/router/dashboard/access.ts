/** Who may see the dashboard: basic authentication where it is set, else only loopback. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { MiddlewareHandler } from 'hono';
import { isLoopbackHost } from '../../lib/address.ts';
import { sleep } from '../../lib/clock.ts';
import type { Clock } from '../../lib/clock.ts';
import type { DashboardConfig } from '../config.ts';

/** Failed logins wait this long, which makes guessing slow (frp protocol 7.1). */
const FAILURE_DELAY_MS = 200;

/** Why this dashboard shows nothing but /healthz; undefined when it is protected or local. */
export function exposureProblem(config: DashboardConfig): string | undefined {
  if (config.user !== '' || config.password !== '' || isLoopbackHost(config.addr)) return undefined;
  return `${config.addr} can be reached from other machines; set a user and a password (dashboardUser and dashboardPasswordFrom; webServer.user and webServer.password in a file)`;
}

/** Checks every request against the configuration in force. */
export function guardAccess(current: () => DashboardConfig | undefined, clock: Clock): MiddlewareHandler {
  return async (c, next) => {
    const config = current();
    if (config === undefined) return c.json({ Code: 503, Msg: 'the router is not serving' }, 503);
    if (config.user === '' && config.password === '') {
      const problem = exposureProblem(config) ?? foreignHost(c.req.header('host'));
      if (problem !== undefined) return c.json({ Code: 403, Msg: problem }, 403);
      return next();
    }
    if (isAdmitted(c.req.header('authorization'), config)) return next();
    await sleep(clock, FAILURE_DELAY_MS, c.req.raw.signal);
    c.header('www-authenticate', 'Basic realm="Restricted"');
    return c.text('Unauthorized\n', 401);
  };
}

/** Compares digests: equal time for every wrong text, whatever its length. */
function isAdmitted(header: string | undefined, config: DashboardConfig): boolean {
  const encoded = /^basic +(\S+)$/iu.exec(header ?? '')?.[1];
  const given = encoded === undefined ? '' : Buffer.from(encoded, 'base64').toString('utf8');
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(`${config.user}:${config.password}`));
}

/** A web page elsewhere may point its own name here (DNS rebinding); nobody else uses names for loopback. */
function foreignHost(host: string | undefined): string | undefined {
  const name = (host ?? 'localhost').replace(/:\d+$/u, '').replaceAll(/[[\]]/gu, '');
  return name === 'localhost' || isIP(name) !== 0
    ? undefined
    : 'this host name is not served without a password';
}
