/**
 * The keys of an ssh-agent as the SSH library takes them. Its own way leaves out what it cannot parse: certificates and the
 * keys of hardware tokens. Here the agent's keys pass through unread, and its signatures as they are.
 */
import { callbackify } from 'node:util';
import { BaseAgent, utils } from 'ssh2';
import type { ParsedKey, SignCallback, SigningRequestOptions } from 'ssh2';
import { agentKeys, agentSignature, sshString } from './agent.ts';
import type { AgentKey } from './agent.ts';
import { SshError } from './errors.ts';
import { AGENT_KEY } from './library-keys.ts';
import type { LibraryKey } from './library-keys.ts';

/** Told around what the agent does, which may take as long as somebody takes to touch a token. */
export interface AgentHooks {
  onAsked(): void;
  onAnswered(): void;
}

/** An agent for one login. */
export class SocketAgent extends BaseAgent<ParsedKey> {
  readonly #socket: string;
  readonly #hooks: AgentHooks;

  constructor(socket: string, hooks: AgentHooks) {
    super();
    this.#socket = socket;
    this.#hooks = hooks;
  }

  override getIdentities(done: (err: Error | null | undefined, keys?: ParsedKey[]) => void): void {
    const answer = callbackify(() => agentKeys(this.#socket).then((keys) => keys.map(asLibraryKey)));
    answer((err, keys) => done(err, Array.isArray(keys) ? keys : []));
  }

  override sign(
    key: ParsedKey,
    data: Buffer,
    options: SigningRequestOptions | SignCallback,
    done?: SignCallback,
  ): void {
    const [hash, finish] = typeof options === 'function' ? [undefined, options] : [options.hash, done];
    this.#hooks.onAsked();
    const signature = callbackify(() => agentSignature(this.#socket, key.getPublicSSH(), data, hash));
    signature((err, bytes) => {
      this.#hooks.onAnswered();
      finish?.(err, bytes);
    });
  }
}

/** A key that the library knows, with another blob: it looks at the type alone, to choose among the algorithms of RSA. */
function asLibraryKey({ type, blob, comment }: AgentKey): ParsedKey {
  const name = 'ssh-ed25519';
  const template = utils.parseKey(
    `${name} ${Buffer.concat([sshString(Buffer.from(name)), sshString(Buffer.alloc(32))]).toString('base64')}`,
  ) as ParsedKey | ParsedKey[] | Error;
  if (template instanceof Error || Array.isArray(template))
    throw new SshError('key', 'the keys of an agent do not work with this version of the SSH library');
  const key = Object.create(template) as LibraryKey;
  const isRsa = type.startsWith('ssh-rsa') || type.startsWith('rsa-sha2-');
  key.type = isRsa ? 'ssh-rsa' : name;
  key.comment = comment;
  key.getPublicSSH = () => blob;
  key[AGENT_KEY] = { type, isRsa };
  return key;
}
