/** Which way of logging in comes next: what the server still accepts, of what we have, in the order we were given. */
import type { AnyAuthMethod } from 'ssh2';
import { EdgeError, errorCode, errorMessage } from '../lib/errors.ts';
import { SocketAgent } from './agent-auth.ts';
import type { AgentHooks } from './agent-auth.ts';
import { libraryKey } from './library-keys.ts';
import type { PrivateKey } from './private-key.ts';

/**
 * A way of logging in. What asks somebody is asked only when its turn comes, and answers undefined where there is no
 * answer: the next way is tried. One that rejects with EDGE_ERR_SSH_GIVEN_UP ends the login.
 */
export type AuthMethod =
  /** The keys of an ssh-agent at a unix socket. */
  | { kind: 'agent'; socket: string }
  /** A key; `load` may ask for a passphrase, and answers undefined when the key cannot be used after all. */
  | { kind: 'key'; name: string; load: () => Promise<PrivateKey | undefined> }
  /** A password; asked again, with the next number from 1, when the server says no. */
  | { kind: 'password'; ask: (attempt: number) => Promise<string | undefined> }
  /** Questions of the server (PAM): codes, passwords by another name. */
  | {
      kind: 'keyboard-interactive';
      ask: (request: Questions, attempt: number) => Promise<readonly string[] | undefined>;
    };

/** What the server asks in one round. */
export interface Questions {
  name: string;
  instructions: string;
  prompts: readonly { text: string; isEchoed: boolean }[];
}

/** Wrong passwords before a method is given up, as OpenSSH's NumberOfPasswordPrompts. */
const MAX_ATTEMPTS = 3;

const SSH_NAMES = {
  agent: 'publickey',
  key: 'publickey',
  password: 'password',
  'keyboard-interactive': 'keyboard-interactive',
} as const;

/** The plan of one login. */
export interface AuthPlan {
  /** The next method for the library; `allowed` is what the server accepts, undefined before it said so. */
  next(allowed: readonly string[] | undefined): Promise<AnyAuthMethod | false>;
  /** What has been tried, for people: `agent, key ~/.ssh/id_ed25519, password`. */
  readonly tried: readonly string[];
  /** What the server accepted last. */
  readonly allowed: readonly string[];
  /** Why a method could not be used, one line each. */
  readonly problems: string[];
}

/**
 * Plans a login of `user`. `onGivenUp` is called when somebody wants no more while the server waits for answers; `hooks`
 * around what an agent signs.
 */
export function planAuthentication(
  user: string,
  methods: readonly AuthMethod[],
  onGivenUp: (err: unknown) => void,
  hooks: AgentHooks = { onAsked: () => {}, onAnswered: () => {} },
): AuthPlan {
  const left = methods.map((method) => ({ method, attempts: 0, isGivenUp: false }));
  const tried: string[] = [];
  const problems: string[] = [];
  let accepted: readonly string[] = [];

  const attempt = async (entry: (typeof left)[number]): Promise<AnyAuthMethod | undefined> => {
    const { method } = entry;
    entry.attempts++;
    const note = (name: string): void => {
      if (!tried.includes(name)) tried.push(name);
    };
    switch (method.kind) {
      case 'agent':
        note('agent');
        return { type: 'agent', username: user, agent: new SocketAgent(method.socket, hooks) };
      case 'key': {
        const key = await method.load();
        if (key === undefined) return undefined;
        note(`key ${method.name}`);
        return { type: 'publickey', username: user, key: libraryKey(key) };
      }
      case 'password': {
        const password = await method.ask(entry.attempts);
        if (password === undefined) {
          entry.isGivenUp = true;
          return undefined;
        }
        note('password');
        return { type: 'password', username: user, password };
      }
      case 'keyboard-interactive': {
        note('keyboard-interactive');
        const number = entry.attempts;
        const answer = async (request: Questions): Promise<string[]> => {
          const answers = await method.ask(request, number);
          if (answers === undefined) entry.isGivenUp = true;
          // another number of answers than of questions would end the connection
          return [...(answers ?? request.prompts.map(() => ''))];
        };
        return {
          type: 'keyboard-interactive',
          username: user,
          prompt: (name, instructions, _lang, prompts, finish) => {
            const request = {
              name,
              instructions,
              prompts: prompts.map(({ prompt, echo }) => ({ text: prompt, isEchoed: echo ?? false })),
            };
            answer(request).then(finish, onGivenUp);
          },
        };
      }
    }
  };

  return {
    tried,
    problems,
    get allowed() {
      return accepted;
    },
    async next(allowed) {
      // the answer to "none" says what the server accepts
      if (allowed === undefined) return { type: 'none', username: user };
      accepted = allowed;
      for (const entry of left) {
        const limit = entry.method.kind === 'agent' || entry.method.kind === 'key' ? 1 : MAX_ATTEMPTS;
        while (allowed.includes(SSH_NAMES[entry.method.kind]) && !entry.isGivenUp && entry.attempts < limit) {
          try {
            const method = await attempt(entry);
            if (method !== undefined) return method;
          } catch (err) {
            if (isGivenUp(err)) throw err;
            const hint = err instanceof EdgeError ? err.hint : undefined;
            problems.push(errorMessage(err) + (hint === undefined ? '' : `: ${hint}`));
          }
        }
      }
      return false;
    },
  };
}

function isGivenUp(err: unknown): boolean {
  return errorCode(err) === 'EDGE_ERR_SSH_GIVEN_UP';
}
