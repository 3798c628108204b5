/** The ways of logging in that an operator has: agent, keys with their certificates, passwords that are asked for. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { errorCode, errorMessage, UsageError } from '../../../lib/errors.ts';
import type { AuthMethod, Questions } from '../../../ssh/authentication.ts';
import { readPrivateKey, withCertificate } from '../../../ssh/private-key.ts';
import type { PrivateKey } from '../../../ssh/private-key.ts';
import { NO_PROMPTER } from './prompter.ts';
import type { Prompter } from './prompter.ts';

/** What the operator said about it. */
export interface MethodSettings {
  /** Private keys that were named; they must exist. */
  identities: readonly string[];
  /** Certificate of the only identity; undefined for the file beside each key. */
  certificate: string | undefined;
  /** The ssh-agent's socket; undefined for none. */
  agent: string | undefined;
  /** Known beforehand; undefined to ask. */
  password: string | undefined;
}

/** Keys that are tried when none is named, in OpenSSH's order. */
const DEFAULT_KEYS = ['id_rsa', 'id_ecdsa', 'id_ed25519'];
/** Wrong passphrases before a key is given up. */
const MAX_PASSPHRASES = 3;

/** Makes the methods for nodes, one set for all of them: keys are read, and passphrases asked for, once. */
export class MethodSource {
  readonly #settings: MethodSettings;
  readonly #prompter: Prompter;
  readonly #keyDir: string;
  readonly #keys = new Map<string, Promise<PrivateKey | undefined>>();
  readonly #passwords = new Map<string, Promise<string | undefined>>();

  constructor(settings: MethodSettings, prompter: Prompter, keyDir = join(homedir(), '.ssh')) {
    this.#settings = settings;
    this.#prompter = prompter;
    this.#keyDir = keyDir;
  }

  /** The methods for a login, in the order in which they are tried. */
  methods(user: string, node: string): AuthMethod[] {
    const { identities, agent, password } = this.#settings;
    const keys =
      identities.length > 0
        ? identities.map((path) => ({ path, isNamed: true }))
        : DEFAULT_KEYS.map((name) => ({ path: join(this.#keyDir, name), isNamed: false }));
    const keyMethods = keys.flatMap(({ path, isNamed }) => [
      this.#certified(path, isNamed),
      this.#plain(path, isNamed),
    ]);
    const agentMethods: AuthMethod[] = agent === undefined ? [] : [{ kind: 'agent', socket: agent }];
    // a key that was named is meant: the agent's may be so many that the server loses patience
    const publicKeys =
      identities.length > 0 ? [...keyMethods, ...agentMethods] : [...agentMethods, ...keyMethods];
    const who = `${user}@${node}`;
    if (password === undefined && this.#prompter === NO_PROMPTER) return publicKeys;
    return [
      ...publicKeys,
      {
        kind: 'keyboard-interactive',
        ask: (questions, attempt) => this.#answer(user, node, questions, attempt),
      },
      {
        kind: 'password',
        ask: (attempt) =>
          password === undefined
            ? this.#askPassword(user, `${who}'s password: `, attempt)
            : Promise.resolve(attempt === 1 ? password : undefined),
      },
    ];
  }

  #plain(path: string, isNamed: boolean): AuthMethod {
    return { kind: 'key', name: path, load: () => this.#key(path, isNamed) };
  }

  #certified(path: string, isNamed: boolean): AuthMethod {
    const { certificate } = this.#settings;
    const file = certificate ?? `${path}-cert.pub`;
    return {
      kind: 'key',
      name: file,
      load: async () => {
        const text = await readOptional(file, certificate === undefined ? undefined : '--certificate');
        if (text === undefined) return undefined;
        const key = await this.#key(path, isNamed);
        return key === undefined ? undefined : withCertificate(key, text, file);
      },
    };
  }

  #key(path: string, isNamed: boolean): Promise<PrivateKey | undefined> {
    const known = this.#keys.get(path);
    if (known !== undefined) return known;
    const loading = this.#load(path, isNamed);
    this.#keys.set(path, loading);
    return loading;
  }

  async #load(path: string, isNamed: boolean): Promise<PrivateKey | undefined> {
    const text = await readOptional(path, isNamed ? '--identity' : undefined);
    if (text === undefined) return undefined;
    const plain = readPrivateKey(text, path);
    if (plain !== undefined) return plain;
    for (let attempt = 1; attempt <= MAX_PASSPHRASES; attempt++) {
      const passphrase = await this.#prompter.ask(`Enter passphrase for key '${path}': `, false);
      if (passphrase === undefined || passphrase === '') return undefined;
      const key = readPrivateKey(text, path, passphrase);
      if (key !== undefined) return key;
    }
    return undefined;
  }

  /** The first answer is used on all nodes of a command; a node that refuses it asks again. */
  #askPassword(user: string, question: string, attempt: number): Promise<string | undefined> {
    if (attempt > 1) return this.#prompter.ask(question, false);
    const known = this.#passwords.get(user);
    if (known !== undefined) return known;
    const asking = this.#prompter.ask(question, false);
    this.#passwords.set(user, asking);
    return asking;
  }

  async #answer(
    user: string,
    node: string,
    { name, instructions, prompts }: Questions,
    attempt: number,
  ): Promise<string[] | undefined> {
    const { password } = this.#settings;
    const [only] = prompts;
    const question = (text: string): string => `(${user}@${node}) ${printable(text)}`;
    // PAM asks for the password this way
    if (prompts.length === 1 && only?.isEchoed === false && instructions === '') {
      if (password !== undefined) return attempt === 1 ? [password] : undefined;
      const answer = await this.#askPassword(user, question(only.text), attempt);
      return answer === undefined ? undefined : [answer];
    }
    const heading = printable([name, instructions].filter((line) => line !== '').join('\n'));
    const answers: string[] = [];
    for (const [index, { text, isEchoed }] of prompts.entries()) {
      const intro = index === 0 && heading !== '' ? `${heading}\r\n` : '';
      const answer = await this.#prompter.ask(`${intro}${question(text)}`, isEchoed);
      if (answer === undefined) return undefined;
      answers.push(answer);
    }
    return answers;
  }
}

/** What a server asks goes to a terminal: it must not be able to do more than ask. */
function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n]/gu, '?').replaceAll('\n', '\r\n');
}

/** The text of a file; undefined when it is missing and nobody named it. */
async function readOptional(path: string, namedBy: string | undefined): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (err) {
    const code = errorCode(err);
    if (namedBy === undefined && (code === 'ENOENT' || code === 'EACCES')) return undefined;
    throw new UsageError(`${namedBy ?? 'key'}: ${errorMessage(err)}`, { cause: err });
  }
}
