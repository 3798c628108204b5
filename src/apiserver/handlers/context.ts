/** What every handler works with: the server's parts, and one request's identity, resource and answer headers. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context } from 'hono';
import { forbidden } from '../../api/status.ts';
import type { KubeObject } from '../../api/meta.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { authorize, isMirror, memberOf, publishProblem } from '../auth/roles.ts';
import type { Identity } from '../auth/roles.ts';
import type { Credentials, Transport } from '../auth/authenticator.ts';
import type { AuditDetails, AuditLog } from '../audit.ts';
import type { RequestLimits } from '../limits.ts';
import type { ApiMetrics } from '../metrics.ts';
import type { NodeDeps } from '../node/routes.ts';
import type { Resource } from '../registry/resources.ts';
import type { ObjectStore } from '../store/store.ts';
import type { WatchRegistry } from './watch-stream.ts';

/** What Node hands in beside the request; absent in tests that call the application directly. */
export interface ApiBindings {
  incoming?: IncomingMessage;
  outgoing?: ServerResponse;
  transport: Transport;
  facts: Facts;
}

/** What became known of a request so far, for who tells of it; one object, as the framework's own variables are a map. */
export interface Facts {
  identity?: Identity;
  verb?: string;
  resource?: string;
  name?: string;
  dryRun?: boolean;
  /** The reason of the failure that was answered. */
  reason?: string | undefined;
  /** For the audit log. */
  details?: AuditDetails;
  /** Those of the call; a failure has them too. */
  warnings?: readonly string[];
}

/** Hono's types for this server. */
export interface ApiEnv {
  Bindings: ApiBindings;
}

/** The context of one request. */
export type ApiContext = Context<ApiEnv>;

/** Who sent a request, where that was found out before. */
export function identityOf(c: ApiContext): Identity {
  const { identity } = c.env.facts;
  if (identity === undefined) throw new Error('a request without an identity');
  return identity;
}

/** The server's parts. */
export interface ApiDeps {
  store: ObjectStore;
  resources: ReadonlyMap<string, Resource>;
  /** This node's name. */
  node: string;
  clock: Clock;
  random: () => number;
  log: Logger;
  metrics: ApiMetrics;
  watches: WatchRegistry;
  authenticate: (credentials: Credentials) => Identity;
  audit: AuditLog | undefined;
  limits: RequestLimits;
  /** The node's own API; absent where only the Kubernetes paths are served. */
  nodeApi?: NodeDeps;
  /** Why new requests are refused with 503; undefined while serving. */
  notServing: () => string | undefined;
}

/** One request for a resource, allowed by the role's rules. */
export interface Call {
  c: ApiContext;
  deps: ApiDeps;
  identity: Identity;
  resource: Resource;
  /** Texts of Warning headers. */
  warnings: string[];
  /** Throws a 403 Status when the role does not allow to turn `current` into `next`. */
  guard(current: KubeObject | undefined, next: KubeObject | undefined): void;
}

/** Checks the role and prepares a call. `subresource` is `status` or nothing. Throws a 403 Status. */
export function startCall(
  c: ApiContext,
  deps: ApiDeps,
  resource: Resource,
  target: { verb: string; name?: string | undefined; subresource?: string | undefined },
): Call {
  const identity = identityOf(c);
  const plural =
    target.subresource === undefined ? resource.plural : `${resource.plural}/${target.subresource}`;
  const { facts } = c.env;
  facts.verb = target.verb;
  facts.resource = plural;
  if (target.name !== undefined) facts.name = target.name;
  const attributes = { verb: target.verb, group: resource.group, resource: plural, name: target.name };
  const decision = authorize(identity, attributes, deps.node);
  const refuse = (name: string | undefined, why?: string): never => {
    throw forbidden({ user: identity.username, ...attributes, name, ...(why === undefined ? {} : { why }) });
  };
  if (!decision.allowed) refuse(target.name);
  const warnings: string[] = [];
  facts.warnings = warnings;
  return {
    c,
    deps,
    identity,
    resource,
    warnings,
    guard(current, next) {
      if (decision.only === 'published') {
        const member = memberOf(identity.username, deps.node);
        const problem = publishProblem(member, current, next);
        if (problem !== undefined) refuse((next ?? current)?.metadata.name, problem);
      } else if (decision.only === 'mirrors') {
        const wrong = [current, next].find((object) => object !== undefined && !isMirror(object, deps.node));
        if (wrong !== undefined)
          refuse(wrong.metadata.name, 'only mirrors of other nodes may be written by this role');
      }
    },
  };
}
