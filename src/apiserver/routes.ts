/** What is around every handler: the counts and the audit, failures as answers, identity, limits, the form for people. */
import type { Hono } from 'hono';
import { statusError } from '../api/status.ts';
import { errorMessage } from '../lib/errors.ts';
import { impersonate, mayImpersonate } from './auth/impersonation.ts';
import { auditEntry, isAudited } from './audit-entry.ts';
import { compressLarge } from './handlers/compress.ts';
import type { ApiContext, ApiDeps, ApiEnv, Facts } from './handlers/context.ts';
import { indentForPeople, isForPeople } from './handlers/pretty.ts';
import { errorResponse, toStatusError, withWarnings } from './handlers/respond.ts';

/** Answers a request, or throws a Status. */
export type Handler = (c: ApiContext) => Response | Promise<Response>;

/** Handlers with something around them: one function a route, where a chain of middleware would cost as much as a small request. */
export class Routes {
  readonly #app: Hono<ApiEnv>;
  readonly #around: (handler: Handler) => Handler;

  constructor(app: Hono<ApiEnv>, around: (handler: Handler) => Handler) {
    this.#app = app;
    this.#around = around;
  }

  get(path: string, handler: Handler): void {
    this.#app.get(path, this.#around(handler));
  }

  post(path: string, handler: Handler): void {
    this.#app.post(path, this.#around(handler));
  }

  all(path: string, handler: Handler): void {
    this.#app.all(path, this.#around(handler));
  }

  /** For paths that no other route has. */
  rest(handler: Handler): void {
    this.#app.notFound(this.#around(handler));
  }
}

/** The routes of an application, by what is around them. */
export interface AllRoutes {
  /** For everybody. */
  open: Routes;
  /** Without an identity yet, but limited and only while serving. */
  joining: Routes;
  /** For who has an identity. */
  own: Routes;
  /** As `own`, and the answers are indented for people and compressed where they are large. */
  api: Routes;
}

/** The routes of an application, still without any. */
export function createRoutes(app: Hono<ApiEnv>, deps: ApiDeps): AllRoutes {
  app.onError((err, c) => failure(err, c, deps)); // of what is around handlers
  const routes = (inner: (handler: Handler) => Handler): Routes =>
    new Routes(app, (handler) => observed(inner(handler), deps));
  return {
    open: routes((handler) => handler),
    joining: routes((handler) => (c) => {
      refuseUnlessServing(deps);
      return limited(c, deps, handler);
    }),
    own: routes((handler) => (c) => {
      identify(c, deps);
      return limited(c, deps, handler);
    }),
    api: routes((handler) => (c) => {
      identify(c, deps);
      return limited(c, deps, handler, inForm);
    }),
  };
}

/** Counts a finished request, and records it when it was a write or was denied. */
function observed(handler: Handler, deps: ApiDeps): Handler {
  const { metrics, audit, clock } = deps;
  return async (c) => {
    const startedAt = clock.now();
    const facts: Facts = {};
    c.env.facts = facts;
    let response: Response;
    try {
      response = await handler(c);
    } catch (err) {
      response = failure(err, c, deps);
    }
    const { verb = 'other', resource = 'other' } = facts;
    const code = response.status;
    const ms = clock.now() - startedAt;
    metrics.requests.inc({ verb, resource, code: String(code) });
    if (verb !== 'watch') metrics.duration.observe({ verb, resource }, ms / 1000);
    if (audit !== undefined && isAudited(c, code))
      audit.write(auditEntry(c, { verb, resource, code, ms }, clock));
    return response;
  };
}

function failure(err: unknown, c: ApiContext, { log }: ApiDeps): Response {
  const error = toStatusError(err);
  c.env.facts.reason = error.reason;
  if (error.httpCode === 500) {
    log.error('request failed', {
      method: c.req.method,
      path: c.req.path,
      error: err instanceof Error ? (err.stack ?? err.message) : errorMessage(err),
    });
  }
  const { warnings = [] } = c.env.facts; // a request refused early has none
  return withWarnings(errorResponse(error, c.req.header('accept')), warnings);
}

function refuseUnlessServing({ notServing }: ApiDeps): void {
  const problem = notServing();
  if (problem !== undefined) throw statusError('ServiceUnavailable', problem, { retryAfterSeconds: 1 });
}

/** Finds out who sent a request, and as whom it acts. */
function identify(c: ApiContext, deps: ApiDeps): void {
  refuseUnlessServing(deps);
  const { transport, incoming } = c.env;
  const identity = deps.authenticate({ transport, authorization: c.req.header('authorization'), incoming });
  c.env.facts.identity = identity; // a refusal below is its own
  if (incoming === undefined || mayImpersonate(incoming.rawHeaders))
    c.env.facts.identity = impersonate(identity, c.req.raw.headers);
}

/** Counts a request against its client's limits until it is answered, a watch until it ends. */
async function limited(
  c: ApiContext,
  deps: ApiDeps,
  handler: Handler,
  finish?: (c: ApiContext, response: Response) => Response | Promise<Response>,
): Promise<Response> {
  const { incoming, outgoing } = c.env;
  const mayWatch = c.req.method === 'GET' && (c.req.query('watch') ?? 'false') !== 'false';
  const { identity } = c.env.facts; // a joining node has none yet
  const client = `${identity?.impersonatedBy ?? identity?.username ?? ''} ${incoming?.socket.remoteAddress ?? ''}`;
  const release = deps.limits.admit(client, mayWatch);
  let isWatch = false;
  try {
    let response: Response;
    try {
      response = await handler(c);
      isWatch = c.env.facts.verb === 'watch' && outgoing !== undefined;
    } catch (err) {
      response = failure(err, c, deps);
    }
    return finish === undefined ? response : await finish(c, response);
  } finally {
    if (isWatch && outgoing?.closed === false) outgoing.once('close', release);
    else release();
  }
}

/** An answer as its reader likes it. */
function inForm(c: ApiContext, response: Response): Response | Promise<Response> {
  const isRead = c.req.method === 'GET';
  if (!isForPeople(c)) return isRead ? compressLarge(c, response) : response;
  const shown = indentForPeople(c, response);
  return isRead ? shown.then((indented) => compressLarge(c, indented)) : shown;
}
