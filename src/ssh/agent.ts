/**
 * Talks to an ssh-agent (draft-miller-ssh-agent) over its unix socket: which keys it has, and their signatures. It takes every
 * kind of key the agent has, certificates and hardware tokens too, because it looks at none of them.
 *
 *     +----------+------+---------+
 *     | length 4 | type | content |
 *     +----------+------+---------+
 */
import { connect } from 'node:net';
import { SshError } from './errors.ts';

/** A key of an agent. */
export interface AgentKey {
  /** As `ssh-ed25519-cert-v01@openssh.com`. */
  readonly type: string;
  /** Its public half, or the certificate in its place, as it goes over the wire. */
  readonly blob: Buffer;
  readonly comment: string;
}

const REQUEST_IDENTITIES = 11;
const IDENTITIES_ANSWER = 12;
const SIGN_REQUEST = 13;
const SIGN_RESPONSE = 14;
/** Ask for the newer signatures of RSA keys. */
const FLAGS: Readonly<Record<string, number>> = { sha256: 2, sha512: 4 };
/** As OpenSSH has it, bytes. */
const MAX_ANSWER_BYTES = 256 * 1024;
/** The keys are told at once; a signature may wait for somebody to touch a token or type a PIN, milliseconds. */
const LIST_TIMEOUT_MS = 10_000;
const SIGN_TIMEOUT_MS = 120_000;

/** The keys of the agent at a socket, certificates first: who has one means it. Rejects with EDGE_ERR_SSH_KEY. */
export async function agentKeys(socket: string): Promise<AgentKey[]> {
  const answer = await ask(socket, Buffer.of(REQUEST_IDENTITIES), IDENTITIES_ANSWER, LIST_TIMEOUT_MS);
  const reader = new Reader(answer, 1);
  const count = reader.uint32();
  const keys: AgentKey[] = [];
  for (let index = 0; index < count; index++) {
    const blob = reader.string();
    const comment = reader.string().toString('utf8');
    keys.push({ type: new Reader(blob).string().toString('latin1'), blob, comment });
  }
  const isCertificate = ({ type }: AgentKey): boolean => type.includes('-cert-');
  return [...keys.filter(isCertificate), ...keys.filter((key) => !isCertificate(key))];
}

/** Has the agent sign; answers the signature as it goes over the wire, with its algorithm. Rejects with EDGE_ERR_SSH_KEY. */
export async function agentSignature(
  socket: string,
  blob: Buffer,
  data: Buffer,
  hash: string | undefined,
): Promise<Buffer> {
  const flags = Buffer.alloc(4);
  flags.writeUInt32BE(FLAGS[hash ?? ''] ?? 0);
  const request = Buffer.concat([Buffer.of(SIGN_REQUEST), sshString(blob), sshString(data), flags]);
  return new Reader(await ask(socket, request, SIGN_RESPONSE, SIGN_TIMEOUT_MS), 1).string();
}

/** A string of SSH's wire form (RFC 4251 section 5). */
export function sshString(content: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(content.length);
  return Buffer.concat([length, content]);
}

function ask(path: string, request: Buffer, wanted: number, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const fail = (why: string): void => {
      reject(new SshError('key', `the ssh-agent at ${path} ${why}`));
      socket.destroy();
    };
    let received: Buffer = Buffer.alloc(0);
    socket.setTimeout(timeoutMs, () => fail('does not answer'));
    socket.on('error', (err) => fail(`cannot be asked: ${err.message}`));
    socket.on('close', () => fail('closed the connection'));
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      const length = received.length < 4 ? 0 : received.readUInt32BE(0);
      if (length > MAX_ANSWER_BYTES) fail(`answers with ${length} bytes, which is too much`);
      else if (received.length >= 4 && received.length >= 4 + length) {
        const answer = received.subarray(4, 4 + length);
        if (answer[0] === wanted) resolve(answer);
        else fail(wanted === SIGN_RESPONSE ? 'does not sign with this key' : 'does not tell its keys');
        socket.destroy();
      }
    });
    socket.write(sshString(request));
  });
}

/** Reads SSH's wire form; throws EDGE_ERR_SSH_KEY where it is cut short. */
class Reader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Buffer, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  uint32(): number {
    this.#need(4);
    this.#at += 4;
    return this.#bytes.readUInt32BE(this.#at - 4);
  }

  string(): Buffer {
    const length = this.uint32();
    this.#need(length);
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #need(length: number): void {
    if (this.#at + length > this.#bytes.length)
      throw new SshError('key', 'the ssh-agent sent an answer that is cut short');
  }
}
