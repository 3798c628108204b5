/** Decides which logins a server takes: token, number of clients, client ids, and whose run id it is. */
import { randomBytes } from 'node:crypto';
import { TunnelError } from '../errors.ts';
import { isAuthKey } from '../frp/auth.ts';
import type { MessageOf } from '../frp/message.ts';
import { Handovers } from './handover.ts';
import type { ServerSession } from './session.ts';
import type { FrpServerConfig } from './types.ts';

type Login = MessageOf<'Login'>['body'];

/** How long the owner of a run id has to show that it lives, milliseconds. */
const REPLAY_PROBE_MS = 1000;

/** What the gate knows of its server, as it is at the moment of the call. */
export interface LoginGateDeps {
  config(): FrpServerConfig;
  /** By run id. */
  sessions: ReadonlyMap<string, ServerSession>;
  isStopped(): boolean;
}

/** A login that is taken, with the token that it proved; or why it is not. */
export type Admission = { runId: string; token: string } | { problem: string };

/** The gate of one server. */
export class LoginGate {
  readonly #deps: LoginGateDeps;
  readonly #handovers = new Handovers();

  constructor(deps: LoginGateDeps) {
    this.#deps = deps;
  }

  /**
   * Waits until the earlier session of this run id, if there is one, has let go of its ports. `canEncrypt` says whether
   * the hello that v2 of the protocol needs has come.
   */
  async admit(login: Login, canEncrypt: boolean): Promise<Admission> {
    if (!canEncrypt) return { problem: 'login without a hello' };
    if (this.#deps.isStopped()) return { problem: 'server is stopping' };
    const token = this.#provenToken(login);
    if (token === undefined) return { problem: 'token in login does not match' };
    const problem = this.#crowd(login);
    if (problem !== undefined) return { problem };
    const runId = login.run_id === '' ? randomBytes(8).toString('hex') : login.run_id;
    const owner = this.#deps.sessions.get(runId);
    // Who saw a login go by without TLS can send it again, with the run id of whom he pleases: it must cut nobody off
    // that lives. A client whose clock was set back is let in when its old connection gives no sign of life.
    if (
      owner !== undefined &&
      login.timestamp <= owner.login.timestamp &&
      (await owner.isAlive(REPLAY_PROBE_MS))
    )
      return { problem: 'login is not newer than the one that it would replace' };
    const old = this.#deps.sessions.get(runId);
    if (old !== undefined && old !== owner) return { problem: 'superseded by a newer login' };
    const predecessor = old && {
      cut: () => old.cut(new TunnelError('closed', 'replaced by a newer login')),
      settled: () => old.settled(),
    };
    if (!(await this.#handovers.take(runId, predecessor))) return { problem: 'superseded by a newer login' };
    return this.#deps.isStopped() ? { problem: 'server is stopping' } : { runId, token };
  }

  /** Logins that were sent again by others can say nothing more, since that needs the token: they make room first. */
  #oldestUnproven(): ServerSession | undefined {
    for (const session of this.#deps.sessions.values()) if (!session.hasProven) return session;
    return undefined;
  }

  #provenToken(login: Login): string | undefined {
    const { token, acceptedTokens = [] } = this.#deps.config();
    return [token, ...acceptedTokens].find((each) => isAuthKey(login.privilege_key, each, login.timestamp));
  }

  /** What the clients that are there already have against this one. */
  #crowd(login: Login): string | undefined {
    const { sessions } = this.#deps;
    for (const other of login.client_id === '' ? [] : sessions.values()) {
      const isSame = other.login.client_id === login.client_id && other.login.user === login.user;
      if (isSame && other.runId !== login.run_id) return `client id ${login.client_id} is online already`;
    }
    if (sessions.size >= this.#deps.config().limits.maxSessions && !sessions.has(login.run_id)) {
      const unproven = this.#oldestUnproven();
      if (unproven === undefined) return 'too many clients';
      unproven.cut(
        new TunnelError('limit', 'too many clients, and this one has said nothing since its login'),
      );
    }
    return undefined;
  }
}
