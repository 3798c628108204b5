/** An ssh-agent with the key of a hardware token in it (OpenSSH's PROTOCOL.u2f), whose token is software. */
import { createHash, generateKeyPairSync, sign } from 'node:crypto';
import { createServer } from 'node:net';
import { sshString } from '../../src/ssh/agent.ts';
import type { TestLike } from './processes.ts';

/** A running one. */
export interface TokenAgent {
  readonly socket: string;
  /** The line of a `.pub` file. */
  readonly publicKey: string;
  /** Signatures so far. */
  readonly signatures: number;
  /** From now on nobody touches the token. */
  refuse(): void;
}

const TYPE = Buffer.from('sk-ssh-ed25519@openssh.com');
const APPLICATION = Buffer.from('ssh:');
const USER_PRESENT = 1;
const [FAILURE, REQUEST_IDENTITIES, IDENTITIES_ANSWER, SIGN_REQUEST, SIGN_RESPONSE] = [5, 11, 12, 13, 14];

/** Starts one at a path. */
export async function startTokenAgent(t: TestLike, socket: string): Promise<TokenAgent> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ type: 'spki', format: 'der' }).subarray(-32);
  const blob = Buffer.concat([TYPE, raw, APPLICATION].map(sshString));
  let signatures = 0;
  let isRefusing = false;
  const answerTo = (request: Buffer): Buffer => {
    if (request[0] === REQUEST_IDENTITIES)
      return Buffer.concat([
        Buffer.of(IDENTITIES_ANSWER),
        uint32(1),
        sshString(blob),
        sshString(Buffer.from('token')),
      ]);
    if (request[0] !== SIGN_REQUEST || isRefusing) return Buffer.of(FAILURE);
    const dataAt = 1 + 4 + request.readUInt32BE(1);
    const data = request.subarray(dataAt + 4, dataAt + 4 + request.readUInt32BE(dataAt));
    signatures++;
    const seen = Buffer.concat([Buffer.of(USER_PRESENT), uint32(signatures)]);
    const signature = sign(undefined, Buffer.concat([sha256(APPLICATION), seen, sha256(data)]), privateKey);
    const whole = Buffer.concat([sshString(TYPE), sshString(signature), seen]);
    return Buffer.concat([Buffer.of(SIGN_RESPONSE), sshString(whole)]);
  };
  const server = createServer((connection) => {
    let received = Buffer.alloc(0);
    connection.on('error', () => {}); // who asked has left
    connection.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 4 && received.length >= 4 + received.readUInt32BE(0)) {
        const end = 4 + received.readUInt32BE(0);
        connection.write(sshString(answerTo(received.subarray(4, end))));
        received = received.subarray(end);
      }
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(socket, resolve);
  });
  t.after(() => void server.close());
  return {
    socket,
    publicKey: `${TYPE.toString()} ${blob.toString('base64')} token`,
    get signatures() {
      return signatures;
    },
    refuse: () => {
      isRefusing = true;
    },
  };
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest();
}
