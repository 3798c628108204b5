/** The Frp Adapter's HTTP: endpoints over NodeMaintenance objects for programs that speak no Kubernetes API, and terminals. */
import { Hono } from 'hono';
import { NODE_MAINTENANCES } from '../../api/edge.ts';
import type { NodeMaintenance } from '../../api/gen/types.ts';
import { maintenanceName, sshServiceName } from '../../api/maintenance.ts';
import { alreadyExists, notFound, statusError } from '../../api/status.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import type { Logger } from '../../lib/log.ts';
import { auditEntry, isAudited } from '../audit-entry.ts';
import type { AuditLog } from '../audit.ts';
import type { Role } from '../auth/roles.ts';
import type { ApiContext, ApiEnv } from '../handlers/context.ts';
import { toStatusError } from '../handlers/respond.ts';
import type { NodeWriter } from './node-writer.ts';
import { admit } from './admission.ts';
import type { AdmissionRules } from './admission.ts';
import { addPageRoutes, addTerminalRoutes } from '../terminal/routes.ts';
import type { TerminalRoutesDeps } from '../terminal/routes.ts';
import { readFields } from './fields.ts';
import { answerOf, readReport, withReport, withState } from './objects.ts';
import type { NodeReport } from './objects.ts';

/** What the adapter works with. */
export interface AdapterDeps {
  nodes: NodeWriter;
  clock: Clock;
  log: Logger;
  rules: AdmissionRules;
  /** Terminals and commands on nodes; undefined leaves their paths out. */
  terminals: Pick<TerminalRoutesDeps, 'gateway' | 'recordings' | 'canIssue'> | undefined;
  audit: AuditLog | undefined;
  /** Why requests are refused; undefined while serving. */
  notServing: () => string | undefined;
}

/** Who may use it. */
const ALLOWED: readonly Role[] = ['admin', 'cloud', 'router'];

/** Creates the application. Every answer is `{"code", "data"}` or `{"code", "error": {"message"}}`. */
export function createAdapterApp(deps: AdapterDeps): Hono<ApiEnv> {
  const { nodes, clock } = deps;
  const { plural } = NODE_MAINTENANCES;
  const app = new Hono<ApiEnv>({ strict: false });
  app.onError((err, c) => failure(err, c, deps));
  app.notFound((c) => failure(statusError('NotFound', 'no such endpoint'), c, deps));
  app.use(async (c, next) => {
    const startedAt = clock.now();
    c.env.facts = {};
    await next();
    const { verb = 'other', resource: what = 'other' } = c.env.facts;
    const code = c.res.status;
    if (!isAudited(c, code)) return;
    const outcome = { verb, resource: what, code, ms: clock.now() - startedAt };
    deps.audit?.write(auditEntry(c, outcome, clock));
  });
  app.use(async (_c, next) => {
    const problem = deps.notServing();
    if (problem !== undefined) throw statusError('ServiceUnavailable', problem);
    await next();
  });
  if (deps.terminals !== undefined) {
    addPageRoutes(app);
    addTerminalRoutes(app, { ...deps.terminals, nodes, rules: deps.rules });
  }
  app.use(async (c, next) => {
    const { authorization, origin, host } = c.req.header();
    c.env.facts.identity = admit({ authorization, origin, host }, ALLOWED, deps.rules).identity;
    await next();
  });

  const label = (c: ApiContext, verb: string, name: string): void => {
    c.env.facts.verb = verb;
    c.env.facts.resource = plural;
    c.env.facts.name = name;
  };

  const report = (current: NodeMaintenance | undefined, told: NodeReport): NodeMaintenance => {
    const object = withReport(current, told);
    return withState(object, told.status ?? 'offline', clock.wallNow(), {
      only: sshServiceName(told.uniqueId),
    });
  };

  app.get('/frp_fetch/:name', (c) => {
    const name = c.req.param('name');
    label(c, 'get', name);
    const found = nodes.get(name);
    if (found === undefined) throw notFound(NODE_MAINTENANCES, name);
    return success(c, answerOf(found));
  });
  app.post('/frp_create', async (c) => {
    const told = readReport(await readFields(c), false);
    const name = maintenanceName(told.uniqueId);
    label(c, 'create', name);
    const { object } = await nodes.write(name, (current) => {
      if (current !== undefined) throw alreadyExists(NODE_MAINTENANCES, name);
      return report(undefined, told);
    });
    return success(c, object === undefined ? {} : answerOf(object));
  });
  app.put('/frp_update', async (c) => {
    const told = readReport(await readFields(c), true);
    const name = maintenanceName(told.uniqueId);
    label(c, 'update', name);
    const { object } = await nodes.write(name, (current) => report(current, told));
    return success(c, object === undefined ? {} : answerOf(object));
  });
  app.put('/nm_useless', async (c) => {
    label(c, 'update', '');
    let changed = 0;
    for (const { metadata } of nodes.list()) {
      const { isChanged } = await nodes.write(
        metadata.name ?? '',
        (current) => current && withState(current, 'offline', clock.wallNow()), // undefined: deleted meanwhile
      );
      if (isChanged) changed++;
    }
    return success(c, { changed });
  });
  return app;
}

function success(c: ApiContext, data: unknown): Response {
  return c.json({ code: 200, data });
}

function failure(err: unknown, c: ApiContext, deps: AdapterDeps): Response {
  const { httpCode, message, reason } = toStatusError(err);
  c.env.facts.reason = reason;
  if (httpCode === 500)
    deps.log.error('adapter request failed', { path: c.req.path, error: errorMessage(err) });
  const body = JSON.stringify({ code: httpCode, error: { message } });
  return new Response(body, { status: httpCode, headers: { 'content-type': 'application/json' } });
}
