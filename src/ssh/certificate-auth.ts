/**
 * Lets the SSH library log in with OpenSSH certificates (PROTOCOL.certkeys), which it cannot by itself: it would send
 * the plain key, and would name the certificate's algorithm where the signature's belongs. The messages that it makes
 * are corrected on their way out, for keys that have a certificate and for these only. The version of the library is
 * fixed, and a test logs in to a real sshd, so that a change of its insides is noticed.
 */
import type { Client, ParsedKey } from 'ssh2';
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
interface CertifiedKey extends ParsedKey {
  [CERTIFIED]?: { type: string };
}

/** The key as the library takes it: one with a certificate shows that as its public half. */
export function libraryKey({ parsed, certificate }: PrivateKey): ParsedKey {
  if (certificate === undefined) return parsed;
  const key = Object.create(parsed) as CertifiedKey;
  key.getPublicSSH = () => certificate.blob;
  key[CERTIFIED] = certificate;
  return key;
}

/** Teaches a client, whose `connect` has been called, to use keys with certificates. */
export function acceptCertificates(client: Client): void {
  const { _protocol: protocol } = client as unknown as { _protocol?: Protocol };
  if (typeof protocol?.authPK !== 'function' || typeof protocol._packetRW.write.finalize !== 'function')
    throw new SshError('key', 'certificates do not work with this version of the SSH library');
  const authPK = protocol.authPK.bind(protocol);
  protocol.authPK = (user, key: CertifiedKey, algorithm, sign) => {
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
      signer(data, (signature) => correctSignature(protocol, certified, plain, () => done(signature)));
    });
  };
}

/** Has the message that `send` makes name the algorithm `plain` in its signature, instead of `certified`. */
function correctSignature(protocol: Protocol, certified: string, plain: string, send: () => void): void {
  const { write } = protocol._packetRW;
  const finalize = write.finalize.bind(write);
  const wrong = sshString(certified);
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
    const signatureEnd = at + 4 + packet.readUInt32BE(at);
    const signature = packet.subarray(at + 4 + wrong.length, signatureEnd);
    const body = Buffer.concat([sshString(plain), signature]);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(body.length);
    const payload = Buffer.concat([packet.subarray(start, at), length, body]);
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

function sshString(text: string): Buffer {
  const bytes = Buffer.alloc(4 + text.length);
  bytes.writeUInt32BE(text.length);
  bytes.write(text, 4, 'latin1');
  return bytes;
}
