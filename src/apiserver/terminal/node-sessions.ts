/** SSH sessions on nodes for callers of the API server: the way to the node, its host key, the caller's own credentials. */
import { ROUTERS } from '../../api/edge.ts';
import type { NodeMaintenance, Router } from '../../api/gen/types.ts';
import { badRequest, statusError } from '../../api/status.ts';
import type { Clock } from '../../lib/clock.ts';
import { errorCode, errorMessage } from '../../lib/errors.ts';
import type { AuthMethod, Questions } from '../../ssh/authentication.ts';
import type { SshChannel } from '../../ssh/channel.ts';
import type { HostKey } from '../../ssh/host-key.ts';
import type { TunnelCredentials } from '../../ssh/node-connection.ts';
import type { PrivateKey } from '../../ssh/private-key.ts';
import type { SshSession } from '../../ssh/session.ts';
import type { Admission } from '../adapter/admission.ts';
import type { SshAuthority } from '../pki/ssh-authority.ts';
import type { ObjectStore } from '../store/store.ts';
import type { Login } from './login.ts';
import type { TerminalSize } from './messages.ts';

/** Asks the caller, where somebody sits in front of a terminal. */
export interface Asker {
  /** Undefined when the caller gives up. */
  ask(text: string, isEchoed: boolean): Promise<string | undefined>;
}

/** What is to be opened. */
export interface SessionRequest {
  object: NodeMaintenance;
  admission: Admission;
  /** The account; `login.user`, or what was asked for. */
  user: string;
  login: Login;
  /** Absent for commands: then nothing is asked and unknown host keys are refused. */
  asker?: Asker | undefined;
  onBanner?: (text: string) => void;
  /** Ends the attempt. */
  signal: AbortSignal;
}

/** An open session on a node. */
export interface NodeSession {
  shell(size: TerminalSize): Promise<SshChannel>;
  exec(command: string): Promise<SshChannel>;
  /** Settles when it is over: with why it broke, or nothing. */
  readonly closed: Promise<Error | undefined>;
  close(): void;
}

/** Opens sessions. */
export interface NodeSessions {
  /** Rejects with a Status or an EdgeError; nothing is left open then. */
  open(request: SessionRequest): Promise<NodeSession>;
}

/** What it works with. */
export interface NodeSessionsDeps {
  store: ObjectStore;
  clock: Clock;
  random: () => number;
  credentials: TunnelCredentials;
  /** The known_hosts file for nodes that told no host keys. */
  knownHosts: string;
  /** Signs certificates for one login; undefined where that is not switched on. */
  sshAuthority: () => SshAuthority | undefined;
}

/** A certificate for one login needs no longer. */
const CERTIFICATE_LIFETIME_MS = 5 * 60_000;
const TERM = 'xterm-256color';

/** Opens sessions through the tunnel. The SSH library is loaded with the first. */
export function createNodeSessions(deps: NodeSessionsDeps): NodeSessions {
  const { store, clock, random } = deps;
  return {
    async open(request) {
      const { object, user, signal } = request;
      const [{ targetOf }, { connectNode }, { openSession }, { openKnownHosts }] = await Promise.all([
        import('../../ssh/node-target.ts'),
        import('../../ssh/node-connection.ts'),
        import('../../ssh/session.ts'),
        import('../../ssh/known-hosts.ts'),
      ]);
      const target = targetOf(object);
      const methods = await methodsOf(request, deps);
      const routers = store.list(ROUTERS.plural).map((stored) => stored.object as Router);
      const connection = await connectNode(target, routers, deps.credentials, { clock, random });
      try {
        const { asker, onBanner } = request;
        const session = await openSession(connection.stream, {
          user,
          methods,
          hostKey: {
            node: target.node,
            told: target.hostKeys,
            knownHosts: await openKnownHosts(deps.knownHosts),
            ...(asker === undefined ? {} : { onUnknown: (key) => confirmHostKey(key, asker) }),
          },
          clock,
          signal,
          ...(onBanner === undefined ? {} : { onBanner }),
        });
        return wrap(session, () => connection.close());
      } catch (err) {
        await connection.close();
        throw err;
      }
    },
  };
}

function wrap(session: SshSession, disconnect: () => Promise<void>): NodeSession {
  const closed = session.closed.then(async (err) => {
    await disconnect();
    return err;
  });
  return {
    closed,
    shell: ({ cols, rows }) => session.shell({ terminal: { cols, rows, term: TERM } }),
    exec: (command) => session.exec(command, {}),
    close: () => session.close(),
  };
}

async function confirmHostKey({ node, type, fingerprint }: HostKey, asker: Asker): Promise<boolean> {
  const text = `Nothing is known of ${node}. Its host key (${type}) has the fingerprint\r\n${fingerprint}\r\nIs that right (yes or no)? `;
  return (await asker.ask(text, true)) === 'yes';
}

/** What the caller brought, best first; without anything the terminal asks. */
async function methodsOf(request: SessionRequest, deps: NodeSessionsDeps): Promise<AuthMethod[]> {
  const { login, user, asker } = request;
  const { password, privateKey } = login;
  if (login.issue) {
    const key = await issueKey(request, deps);
    return [{ kind: 'key', name: 'issued certificate', load: () => Promise.resolve(key) }];
  }
  const methods: AuthMethod[] = [];
  if (privateKey !== undefined) {
    const key = await readKey(login, privateKey);
    methods.push({ kind: 'key', name: 'of the caller', load: () => Promise.resolve(key) });
  }
  if (password !== undefined) {
    const once = (attempt: number) => (attempt === 1 ? password : undefined);
    methods.push(
      { kind: 'password', ask: (attempt) => Promise.resolve(once(attempt)) },
      {
        kind: 'keyboard-interactive',
        ask: ({ prompts }, attempt) => {
          const answer = once(attempt);
          // only the plain question for a password; codes cannot be known here
          const isPassword = prompts.length === 1 && prompts[0]?.isEchoed === false;
          if (prompts.length === 0) return Promise.resolve([]);
          return Promise.resolve(answer === undefined || !isPassword ? undefined : [answer]);
        },
      },
    );
  }
  if (methods.length === 0 && asker !== undefined) {
    methods.push(
      { kind: 'keyboard-interactive', ask: (questions) => askAll(questions, asker) },
      { kind: 'password', ask: () => asker.ask(`${user}'s password: `, false) },
    );
  }
  if (methods.length === 0)
    throw badRequest('password, private_key or issue: there is nothing to log in to the node with');
  return methods;
}

async function askAll(questions: Questions, asker: Asker): Promise<string[] | undefined> {
  const answers: string[] = [];
  for (const { text, isEchoed } of questions.prompts) {
    const answer = await asker.ask(printable(text), isEchoed);
    if (answer === undefined) return undefined;
    answers.push(answer);
  }
  return answers;
}

/** What an sshd says before it is believed must not move the cursor about. */
function printable(text: string): string {
  return text.replaceAll(/[^\P{Cc}\t\n]/gu, '').replaceAll('\n', '\r\n');
}

async function readKey(login: Login, text: string): Promise<PrivateKey> {
  const { readPrivateKey, withCertificate } = await import('../../ssh/private-key.ts');
  try {
    const key = readPrivateKey(text, 'private_key', login.passphrase);
    if (key === undefined)
      throw badRequest('private_key: it is encrypted, and the passphrase does not open it');
    return login.certificate === undefined ? key : withCertificate(key, login.certificate, 'certificate');
  } catch (err) {
    if (errorCode(err) === 'EDGE_ERR_SSH_KEY') throw badRequest(errorMessage(err));
    throw err;
  }
}

/** A key that lives as long as this login, and a certificate for it that names the caller. */
async function issueKey({ admission, user }: SessionRequest, deps: NodeSessionsDeps): Promise<PrivateKey> {
  const authority = deps.sshAuthority();
  if (authority === undefined)
    throw badRequest('issue: this server issues no certificates for terminals (--terminal-certificates)');
  const { identity, isVerified } = admission;
  if (!isVerified || !identity.roles.includes('admin'))
    throw statusError('Forbidden', 'issue: only a token with the role admin may have certificates issued');
  const { makePrivateKey, withCertificate } = await import('../../ssh/private-key.ts');
  const { key, publicKey } = makePrivateKey();
  const { certificate } = authority.issue({
    publicKey,
    principals: [user],
    lifetimeMs: CERTIFICATE_LIFETIME_MS,
    user: identity.username,
  });
  return withCertificate(key, certificate, 'issued certificate');
}
