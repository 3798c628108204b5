/** HTTP beside the terminals' WebSockets: commands, tickets, the page with its nodes and recordings. */
import type { Context, Hono } from 'hono';
import { ORIGIN_ANNOTATION, ROUTER_ANNOTATION } from '../../api/edge.ts';
import type { NodeMaintenance } from '../../api/gen/types.ts';
import { badRequest, statusError } from '../../api/status.ts';
import { admit } from '../adapter/admission.ts';
import type { Admission, AdmissionRules } from '../adapter/admission.ts';
import { readFields } from '../adapter/fields.ts';
import { stateOf } from '../adapter/frps-sightings.ts';
import type { NodeWriter } from '../adapter/node-writer.ts';
import type { Role } from '../auth/roles.ts';
import type { ApiContext, ApiEnv } from '../handlers/context.ts';
import { describeFailure } from './failures.ts';
import type { TerminalGateway } from './gateway.ts';
import { TERMINAL_ROLES } from './gateway.ts';
import { readLogin } from './login.ts';
import page from './page/page.html';
import script from './page/page.bundle.js';
import style from './page/page.bundle.css';
import type { Recordings } from './recordings.ts';
import { TICKET_LIFETIME_MS } from './tickets.ts';

/** What the routes work with. */
export interface TerminalRoutesDeps {
  gateway: TerminalGateway;
  nodes: NodeWriter;
  recordings: Recordings | undefined;
  rules: AdmissionRules;
  /** Whether the server issues certificates for terminals. */
  canIssue: boolean;
}

const DEFAULT_TIMEOUT_SECONDS = 30;
const MAX_TIMEOUT_SECONDS = 300;
const MAX_COMMAND_LENGTH = 64 * 1024;
/** A command, a key and a certificate. */
const MAX_COMMAND_BODY_BYTES = 128 * 1024;
/** Who was on which node and what they saw is not for everybody who may open terminals. */
const RECORDING_ROLES: readonly Role[] = ['admin'];

/**
 * The page has no script in it and takes none from elsewhere. Styles may be inline because the terminal makes its own;
 * it talks to nobody but this server.
 */
const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-cache',
};

/** Adds the routes that anybody may read: the page holds no secret, and asks for the token itself. */
export function addPageRoutes(app: Hono<ApiEnv>): void {
  const answer = (c: ApiContext, body: string, type: string): Response =>
    c.body(body, 200, { ...PAGE_HEADERS, 'content-type': `${type}; charset=utf-8` });
  // the app takes both for one path, but the page's own addresses are relative to the folder
  app.get('/terminal', (c) =>
    new URL(c.req.url).pathname === '/terminal'
      ? c.redirect('/terminal/', 301)
      : answer(c, page, 'text/html'),
  );
  app.get('/terminal/page.js', (c) => answer(c, script, 'text/javascript'));
  app.get('/terminal/page.css', (c) => answer(c, style, 'text/css'));
}

/** Adds the others. */
export function addTerminalRoutes(app: Hono<ApiEnv>, deps: TerminalRoutesDeps): void {
  const { gateway, nodes, recordings, rules } = deps;
  const enter = (c: ApiContext, roles: readonly Role[]): Admission => {
    const { authorization, origin, host } = c.req.header();
    const admission = admit({ authorization, origin, host }, roles, rules);
    c.env.facts.identity = admission.identity;
    return admission;
  };
  const label = (c: ApiContext, verb: string, resource: string): void => {
    c.env.facts.verb = verb;
    c.env.facts.resource = resource;
  };

  // audited by the gateway, with its outcome
  app.post('/reverse_proxy_shell', async (c) => {
    const admission = enter(c, TERMINAL_ROLES);
    const fields = await readFields(c, MAX_COMMAND_BODY_BYTES);
    const name = textOf(fields, 'nm_name', 300);
    const command = textOf(fields, 'cmd', MAX_COMMAND_LENGTH);
    const login = readLogin(fields);
    if (login.user === undefined) throw badRequest('user: which account on the node?');
    const seconds = Number(fields['timeout'] ?? DEFAULT_TIMEOUT_SECONDS);
    if (!(seconds >= 1 && seconds <= MAX_TIMEOUT_SECONDS))
      throw badRequest(`timeout: wanted 1 to ${MAX_TIMEOUT_SECONDS} seconds`);
    const caller = {
      admission,
      address: c.env.incoming?.socket.remoteAddress,
      userAgent: c.req.header('user-agent'),
    };
    const { signal } = c.req.raw;
    try {
      const wanted = { name, command, login, timeoutMs: seconds * 1000, signal };
      return c.json({ code: 200, data: await gateway.run(caller, wanted) });
    } catch (err) {
      const failure = describeFailure(err);
      if (failure === undefined) throw err;
      return failureResponse(c, failure.status, failure.message);
    }
  });
  app.post('/reverse_proxy_ticket', async (c) => {
    label(c, 'create', 'nodemaintenances/ticket');
    const admission = enter(c, TERMINAL_ROLES);
    const name = textOf(await readFields(c), 'nm_name', 300);
    c.env.facts.name = name;
    const ticket = gateway.ticket(admission, name);
    c.header('cache-control', 'no-store');
    return c.json({ code: 200, data: { ticket, expires_in: TICKET_LIFETIME_MS / 1000 } });
  });

  app.get('/terminal/api/nodes', (c) => {
    label(c, 'list', 'nodemaintenances');
    const admission = enter(c, TERMINAL_ROLES);
    const isAdmin = admission.identity.roles.includes('admin');
    c.header('cache-control', 'no-store');
    return c.json({
      code: 200,
      data: {
        operator: admission.identity.username,
        can_issue: deps.canIssue && admission.isVerified && isAdmin,
        has_recordings: recordings !== undefined && isAdmin,
        nodes: nodes.list().map(describeNode),
      },
    });
  });
  const recordingsOf = (c: ApiContext, verb: string): Recordings => {
    label(c, verb, 'node/recordings'); // every look at one is audited
    enter(c, RECORDING_ROLES);
    if (recordings === undefined)
      throw statusError('NotFound', 'terminals are not recorded (--recordings-dir)');
    return recordings;
  };
  app.get('/terminal/api/recordings', async (c) => {
    const found = recordingsOf(c, 'list');
    c.header('cache-control', 'no-store');
    return c.json({ code: 200, data: await found.list() });
  });
  app.get('/terminal/api/recordings/:name', async (c) => {
    const name = c.req.param('name');
    c.env.facts.name = name;
    const text = await recordingsOf(c, 'get').read(name);
    if (text === undefined) throw statusError('NotFound', 'there is no recording of this name');
    return c.body(text, 200, {
      'content-type': 'application/x-asciicast',
      'content-disposition': `attachment; filename="${name}"`,
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
    });
  });
}

/** What the page shows of a node. */
function describeNode(object: NodeMaintenance): object {
  const { metadata, spec, status } = object;
  const service = spec.services?.[0];
  const annotations = metadata.annotations ?? {};
  return {
    name: metadata.name,
    node: spec.nodeName,
    state: stateOf(object),
    since: status?.services?.find(({ name }) => name === service?.name)?.lastUpdate ?? '',
    router: annotations[ROUTER_ANNOTATION] ?? '',
    origin: annotations[ORIGIN_ANNOTATION] ?? '',
    address: `${service?.frpServerIpAddress ?? ''}:${service?.proxyPort ?? ''}`,
  };
}

function textOf(fields: Readonly<Record<string, unknown>>, key: string, maxLength: number): string {
  const value = fields[key];
  if (typeof value !== 'string' || value === '' || value.length > maxLength)
    throw badRequest(`${key}: wanted a text of up to ${maxLength} characters`);
  return value;
}

function failureResponse(c: Context, status: number, message: string): Response {
  return c.body(JSON.stringify({ code: status, error: { message } }), status as 502, {
    'content-type': 'application/json',
  });
}
