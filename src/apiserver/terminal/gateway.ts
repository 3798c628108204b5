/** The way in to terminals and commands: who may, for which node, how many at once; every one of them is audited. */
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { NODE_MAINTENANCES } from '../../api/edge.ts';
import type { NodeMaintenance } from '../../api/gen/types.ts';
import { notFound, statusError } from '../../api/status.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Logger } from '../../lib/log.ts';
import { Counter, Gauge } from '../../lib/metrics.ts';
import type { Registry } from '../../lib/metrics.ts';
import { admit, checkOrigin } from '../adapter/admission.ts';
import type { Admission, AdmissionRules } from '../adapter/admission.ts';
import type { NodeWriter } from '../adapter/node-writer.ts';
import type { AuditDetails, AuditLog } from '../audit.ts';
import type { Role } from '../auth/roles.ts';
import { toStatusError } from '../handlers/respond.ts';
import { MAX_OUTPUT_BYTES, runCommand } from './command.ts';
import type { CommandResult } from './command.ts';
import { describeFailure } from './failures.ts';
import { isAccount } from './login.ts';
import type { Login } from './login.ts';
import { DEFAULT_SIZE, readSize, TICKET_PREFIX } from './messages.ts';
import type { NodeSessions } from './node-sessions.ts';
import type { Recordings } from './recordings.ts';
import { runTerminal } from './session.ts';
import type { TerminalOutcome, TerminalRequest, TerminalSocket } from './session.ts';
import { TerminalSockets } from './socket.ts';
import { Tickets } from './tickets.ts';

/** Who may open terminals and run commands. */
export const TERMINAL_ROLES: readonly Role[] = ['admin', 'cloud'];
/** Terminals and commands at once: of all callers, and of one. */
const MAX_SESSIONS = 64;
const MAX_SESSIONS_EACH = 16;
const PATH = /^\/reverse_proxy\/([^/]+)\/?$/u;
/** What is kept of a command in the audit log, characters. */
const MAX_COMMAND_LENGTH = 2000;

/** What the gateway needs. */
export interface GatewayDeps {
  nodes: NodeWriter;
  sessions: NodeSessions;
  recordings: Recordings | undefined;
  rules: AdmissionRules;
  /** Why nobody may send credentials here; undefined where they are protected. */
  exposure: string | undefined;
  idleTimeoutMs: number;
  audit: AuditLog | undefined;
  clock: Clock;
  log: Logger;
  registry: Registry;
  notServing: () => string | undefined;
}

/** Where a request came from, for the audit log. */
export interface Caller {
  admission: Admission;
  address: string | undefined;
  userAgent: string | undefined;
}

/** The terminals and commands of one listener. */
export class TerminalGateway {
  readonly #deps: GatewayDeps;
  readonly #tickets: Tickets;
  readonly #sockets: TerminalSockets;
  readonly #metrics: ReturnType<typeof createMetrics>;
  readonly #abort = new AbortController();
  /** Running sessions by who runs them. */
  readonly #running = new Map<string, number>();
  readonly #ends = new Set<Promise<unknown>>();
  #count = 0;

  constructor(deps: GatewayDeps) {
    this.#deps = deps;
    this.#tickets = new Tickets(deps.clock);
    this.#sockets = new TerminalSockets(deps.clock);
    this.#metrics = createMetrics(deps.registry);
  }

  /** A ticket with which one WebSocket may be opened. */
  ticket(admission: Admission, name: string): string {
    this.#checkExposure();
    this.#find(name);
    return this.#tickets.issue(admission, name);
  }

  /** Answers the upgrade of a WebSocket. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    try {
      const wanted = this.#read(request);
      const { caller, terminal } = wanted;
      const release = this.#enter(caller.admission);
      let isOpen = false;
      // a handshake that fails is answered by the library
      socket.once('close', () => {
        if (!isOpen) release();
      });
      this.#sockets.accept(request, socket, head, (opened) => {
        isOpen = true;
        this.#track(this.#serve(opened, caller, terminal).finally(release));
      });
    } catch (err) {
      const { httpCode, message, reason } = toStatusError(err);
      if (httpCode === 500) this.#deps.log.error('terminal refused', { error: message });
      this.#auditRefusal(request, httpCode, reason);
      refuse(socket, httpCode, message);
    }
  }

  /** Runs a command for a caller. Rejects with a Status or an EdgeError. */
  async run(
    caller: Caller,
    wanted: { name: string; command: string; login: Login; timeoutMs: number; signal: AbortSignal },
  ): Promise<CommandResult> {
    this.#checkExposure();
    const { name, command, login, timeoutMs } = wanted;
    const object = this.#find(name);
    const release = this.#enter(caller.admission);
    const running = this.#run(caller, object, command, login, timeoutMs, wanted.signal).finally(release);
    this.#track(running.catch(() => {})); // the caller hears of it
    return running;
  }

  /** Ends all terminals and commands; resolves when the last has. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await Promise.all(this.#ends);
  }

  async #run(
    caller: Caller,
    object: NodeMaintenance,
    command: string,
    login: Login,
    timeoutMs: number,
    callerGone: AbortSignal,
  ): Promise<CommandResult> {
    const { clock, sessions } = this.#deps;
    const startedAt = clock.now();
    const user = login.user ?? '';
    const about: AuditDetails = { user, command: command.slice(0, MAX_COMMAND_LENGTH) };
    const signal = AbortSignal.any([callerGone, this.#abort.signal]);
    const { admission } = caller;
    try {
      const session = await sessions.open({ object, admission, user, login, signal });
      const limits = { timeoutMs, maxOutputBytes: MAX_OUTPUT_BYTES };
      const result = await runCommand(session, command, limits, { clock, signal });
      const { exit_status: exitStatus, signal: ended, truncated } = result;
      this.#audit(caller, object, 'exec', 200, clock.now() - startedAt, {
        ...about,
        ...(exitStatus === undefined ? {} : { exitStatus }),
        ...(ended === undefined ? {} : { signal: ended }),
        truncated,
      });
      this.#metrics.ended.inc({ kind: 'exec', outcome: 'ok' });
      return result;
    } catch (err) {
      const failure = describeFailure(err);
      const error = failure?.code ?? 'EDGE_ERR_INTERNAL';
      this.#audit(caller, object, 'exec', failure?.status ?? 500, clock.now() - startedAt, {
        ...about,
        error,
      });
      this.#metrics.ended.inc({ kind: 'exec', outcome: 'failed' });
      throw err;
    }
  }

  async #serve(
    socket: TerminalSocket,
    caller: Caller,
    terminal: Omit<TerminalRequest, 'id' | 'admission'>,
  ): Promise<void> {
    const { clock, log, sessions, recordings, idleTimeoutMs } = this.#deps;
    const id = randomBytes(4).toString('hex');
    const startedAt = clock.now();
    const node = terminal.object.spec.nodeName;
    const operator = caller.admission.identity.username;
    const audit = (code: number, details: AuditDetails): void =>
      this.#audit(caller, terminal.object, 'shell', code, clock.now() - startedAt, { id, ...details });
    this.#metrics.open.inc();
    try {
      const outcome = await runTerminal(
        socket,
        { ...terminal, id, admission: caller.admission },
        {
          sessions,
          clock,
          recordings,
          idleTimeoutMs,
          signal: this.#abort.signal,
          onOpen: (user) => {
            log.info('terminal opened', { id, node, user, operator });
            audit(101, { event: 'opened', user }); // so that one that outlives this process has left a trace
          },
        },
      );
      const { failure, exitStatus } = outcome;
      const seconds = Math.round((clock.now() - startedAt) / 1000);
      log.info('terminal closed', { id, node, seconds, exitStatus, error: failure?.message });
      this.#metrics.ended.inc({ kind: 'shell', outcome: failure === undefined ? 'ok' : 'failed' });
      audit(failure === undefined ? 200 : failure.status || 200, {
        event: 'closed',
        ...auditDetails(outcome),
      });
    } catch (err) {
      log.error('terminal failed', { id, node, error: err instanceof Error ? err.stack : String(err) });
      socket.close(1011, 'internal error');
    } finally {
      this.#metrics.open.dec();
    }
  }

  /** Everything that a request for a terminal must be; throws a Status. */
  #read(request: IncomingMessage): { caller: Caller; terminal: Omit<TerminalRequest, 'id' | 'admission'> } {
    const problem = this.#deps.notServing();
    if (problem !== undefined) throw statusError('ServiceUnavailable', problem);
    const url = URL.canParse(request.url ?? '', 'http://x')
      ? new URL(request.url ?? '', 'http://x')
      : undefined;
    const [, encoded] = PATH.exec(url?.pathname ?? '') ?? [];
    if (url === undefined || encoded === undefined) throw statusError('NotFound', 'no such endpoint');
    const name = decode(encoded);
    const admission = this.#admit(request, name);
    this.#checkExposure();
    const query = url.searchParams;
    const user = query.get('user') ?? undefined;
    if (user !== undefined && !isAccount(user))
      throw statusError('BadRequest', 'user: that is no name of an account');
    const hasSize = query.has('cols') || query.has('rows');
    const size = hasSize ? readSize(query.get('cols'), query.get('rows')) : DEFAULT_SIZE;
    if (size === undefined) throw statusError('BadRequest', 'cols, rows: wanted numbers from 1 to 1000');
    const auth = query.get('auth');
    if (auth !== null && auth !== 'message')
      throw statusError('BadRequest', 'auth: wanted message, or nothing');
    return {
      caller: {
        admission,
        address: request.socket.remoteAddress,
        userAgent: request.headers['user-agent'],
      },
      terminal: { object: this.#find(name), size, user, isAuthExpected: auth === 'message' },
    };
  }

  #admit(request: IncomingMessage, name: string): Admission {
    const { headers } = request;
    const applicant = { authorization: headers.authorization, origin: headers.origin, host: headers.host };
    const ticket = (headers['sec-websocket-protocol'] ?? '')
      .split(',')
      .map((protocol) => protocol.trim())
      .find((protocol) => protocol.startsWith(TICKET_PREFIX));
    if (ticket === undefined) return admit(applicant, TERMINAL_ROLES, this.#deps.rules);
    checkOrigin(applicant, this.#deps.rules);
    const admission = this.#tickets.redeem(ticket.slice(TICKET_PREFIX.length), name);
    if (admission === undefined)
      throw statusError('Unauthorized', 'the ticket is used, expired or for another node');
    return admission;
  }

  #checkExposure(): void {
    const { exposure } = this.#deps;
    if (exposure !== undefined) throw statusError('Forbidden', exposure);
  }

  #find(name: string): NodeMaintenance {
    const object = this.#deps.nodes.get(name);
    if (object === undefined) throw notFound(NODE_MAINTENANCES, name);
    return object;
  }

  /** Counts a session in; answers how it is counted out. */
  #enter({ identity: { username } }: Admission): () => void {
    const own = this.#running.get(username) ?? 0;
    if (this.#abort.signal.aborted) throw statusError('ServiceUnavailable', 'the server is stopping');
    if (this.#count >= MAX_SESSIONS || own >= MAX_SESSIONS_EACH)
      throw statusError('TooManyRequests', `too many terminals and commands at once (${own} are yours)`);
    this.#count++;
    this.#running.set(username, own + 1);
    let isOut = false;
    return () => {
      if (isOut) return;
      isOut = true;
      this.#count--;
      const left = (this.#running.get(username) ?? 1) - 1;
      if (left === 0) this.#running.delete(username);
      else this.#running.set(username, left);
    };
  }

  #track(running: Promise<unknown>): void {
    this.#ends.add(running);
    void running.finally(() => this.#ends.delete(running));
  }

  #audit(
    caller: Caller,
    object: NodeMaintenance,
    verb: 'shell' | 'exec',
    code: number,
    ms: number,
    details: AuditDetails,
  ): void {
    const { audit, clock } = this.#deps;
    const { identity } = caller.admission;
    audit?.write({
      time: clock.wallNow().toISOString(),
      user: identity.username,
      groups: identity.groups,
      verb,
      resource: `${NODE_MAINTENANCES.plural}/${verb}`,
      name: object.metadata.name ?? '',
      code,
      details: { node: object.spec.nodeName, ...details },
      ms: Math.round(ms),
      ...(caller.address === undefined ? {} : { sourceIP: caller.address }),
      ...(caller.userAgent === undefined ? {} : { userAgent: caller.userAgent.slice(0, 256) }),
    });
  }

  #auditRefusal({ url, socket }: IncomingMessage, code: number, reason: string | undefined): void {
    const { audit, clock } = this.#deps;
    audit?.write({
      time: clock.wallNow().toISOString(),
      user: 'system:anonymous',
      groups: [],
      verb: 'shell',
      resource: 'other',
      method: 'GET',
      path: (url ?? '').replace(/\?.*$/su, '').slice(0, 256),
      code,
      ...(reason === undefined ? {} : { reason }),
      ms: 0,
      ...(socket.remoteAddress === undefined ? {} : { sourceIP: socket.remoteAddress }),
    });
  }
}

function auditDetails({
  user,
  exitStatus,
  signal,
  failure,
  bytesIn,
  bytesOut,
  recording,
}: TerminalOutcome): AuditDetails {
  return {
    bytesIn,
    bytesOut,
    ...(user === undefined ? {} : { user }),
    ...(exitStatus === undefined ? {} : { exitStatus }),
    ...(signal === undefined ? {} : { signal }),
    ...(failure === undefined ? {} : { error: failure.code }),
    ...(recording === undefined ? {} : { recording }),
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw statusError('BadRequest', 'the path is not encoded as it should be');
  }
}

/** Answers an upgrade that is refused, in the adapter's envelope. */
function refuse(socket: Duplex, code: number, message: string): void {
  const body = JSON.stringify({ code, error: { message } });
  socket.end(
    `HTTP/1.1 ${code} Refused\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

function createMetrics(registry: Registry) {
  const registers = [registry];
  return {
    open: new Gauge({
      name: 'edge_terminals_open',
      help: 'Terminals that are open now.',
      registers,
    }),
    ended: new Counter({
      name: 'edge_node_sessions_ended_total',
      help: 'Terminals and commands on nodes that have ended, by kind and outcome.',
      labelNames: ['kind', 'outcome'],
      registers,
    }),
  };
}
