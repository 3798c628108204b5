/**
 * Lets the SSH library log in with what it cannot by itself: OpenSSH certificates (PROTOCOL.certkeys), of which it would
 * send the plain key and would name the certificate's algorithm where the signature's belongs, and keys of an agent that
 * it cannot parse. The messages that it makes are corrected on their way out, for such keys and for these only. The
 * version of the library is fixed, and a test logs in to a real sshd, so that a change of its insides is noticed.
 */
import type { Client, ParsedKey } from 'ssh2';
import { sshString } from './agent.ts';
import { SshError } from './errors.ts';
import type { PrivateKey } from './private-key.ts';

type Signer = (data: Buffer, done: (signature: Buffer) => void) => void;

/** The insides of the library that are used. */
interface Protocol {
  authPK(user: string, key: ParsedKey, algorithm?: string | Signer, sign?: Signer): void;
  _packetRW: {
    write: {
      allocStart: number;
      alloc(length: number): Buffer;
      finalize(packet: Buffer): Buffer;
    };
  };
}

const CERTIFIED = Symbol('certificate');
/** Marks a key whose signatures come from an agent, with their algorithms. */
export const AGENT_KEY = Symbol('agent key');

/** A key as the library is given it. */
export interface LibraryKey extends ParsedKey {
  [CERTIFIED]?: { type: string };
  [AGENT_KEY]?: { type: string; isRsa: boolean };
}

/** Enough for the library to make a message of; the agent's signature takes its place. */
const NO_SIGNATURE = Buffer.alloc(64);

/** The key as the library takes it: one with a certificate shows that as its public half. */
export function libraryKey({ parsed, certificate }: PrivateKey): ParsedKey {
  if (certificate === undefined) return parsed;
  const key = Object.create(parsed) as LibraryKey;
  key.getPublicSSH = () => certificate.blob;
  key[CERTIFIED] = certificate;
  return key;
}

/** Teaches a client, whose `connect` has been called, to use such keys. */
export function acceptSpecialKeys(client: Client): void {
  const { _protocol: protocol } = client as unknown as { _protocol?: Protocol };
  if (typeof protocol?.authPK !== 'function' || typeof protocol._packetRW.write.finalize !== 'function')
    throw new SshError('key', 'certificates and agents do not work with this version of the SSH library');
  const authPK = protocol.authPK.bind(protocol);
  protocol.authPK = (user, key: LibraryKey, algorithm, sign) => {
    const held = key[AGENT_KEY];
    if (held !== undefined) {
      const signer = typeof algorithm === 'function' ? algorithm : sign;
      const name = agentAlgorithm(held, typeof algorithm === 'string' ? algorithm : undefined);
      if (signer === undefined) authPK(user, key, name);
      else
        authPK(user, key, name, (data, done) => {
          signer(data, (signature) =>
            replaceSignature(
              protocol,
              () => signature,
              () => done(NO_SIGNATURE),
            ),
          );
        });
      return;
    }
    const certificate = key[CERTIFIED];
    if (certificate === undefined) {
      authPK(user, key, algorithm, sign);
      return;
    }
    const signer = typeof algorithm === 'function' ? algorithm : sign;
    const plain = typeof algorithm === 'string' ? algorithm : key.type;
    const certified = plain === key.type ? certificate.type : `${plain}-cert-v01@openssh.com`;
    if (signer === undefined) {
      authPK(user, key, certified);
      return;
    }
    authPK(user, key, certified, (data, done) => {
      const wrong = sshString(Buffer.from(certified));
      const right = sshString(Buffer.from(plain));
      const rename = (made: Buffer): Buffer => Buffer.concat([right, made.subarray(wrong.length)]);
      signer(data, (signature) => replaceSignature(protocol, rename, () => done(signature)));
    });
  };
}

/** The algorithm to ask for: of RSA the one that the library chose, by what the server knows. */
function agentAlgorithm(
  { type, isRsa }: { type: string; isRsa: boolean },
  chosen: string | undefined,
): string {
  if (!isRsa || chosen === undefined) return type;
  return type.includes('-cert-') ? `${chosen}-cert-v01@openssh.com` : chosen;
}

/** Has the message that `send` makes carry another signature than the one made by the library. */
function replaceSignature(protocol: Protocol, replace: (made: Buffer) => Buffer, send: () => void): void {
  const { write } = protocol._packetRW;
  const finalize = write.finalize.bind(write);
  write.finalize = (packet) => {
    write.finalize = finalize;
    // byte 50, user, service, "publickey", true, algorithm, key, then the signature: a string of algorithm and bytes
    const start = write.allocStart;
    let at = start + 1;
    const skip = (): void => {
      at += 4 + packet.readUInt32BE(at);
    };
    skip(); // user
    skip(); // service
    skip(); // method
    at += 1; // a signature follows
    skip(); // algorithm
    skip(); // key
    const made = packet.subarray(at + 4, at + 4 + packet.readUInt32BE(at));
    const payload = Buffer.concat([packet.subarray(start, at), sshString(replace(made))]);
    const corrected = write.alloc(payload.length);
    corrected.set(payload, start);
    return finalize(corrected);
  };
  try {
    send();
  } finally {
    write.finalize = finalize;
  }
}
