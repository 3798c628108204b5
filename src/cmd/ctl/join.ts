/** `edge ctl join`: first contact with a node by a token that pins its authority; ends with a kubeconfig for it. */
import { createHash, timingSafeEqual, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import type { ClusterAccess } from '../../apiclient/kubeconfig.ts';
import { EdgeError, UsageError } from '../../lib/errors.ts';
import { formatKubeconfig, makeKey, writeKubeconfig } from './credentials.ts';
import type { SignedCertificate } from './credentials.ts';
import { call, exchange, readAnswer } from './exchange.ts';
import { createVerb, runVerb } from './verb.ts';

/** ID.SECRET.HASH, the hash being SHA-256 of the authority's public key (SubjectPublicKeyInfo). */
const TOKEN = /^([0-9a-f]{8}\.[0-9a-f]{32})\.([0-9a-f]{64})$/u;

/** Fetches the authority over an unverified connection and compares it with the pin; nothing secret is sent before. */
async function fetchAuthority(server: string, pin: string, timeoutMs: number): Promise<string> {
  const access: ClusterAccess = { server, insecureSkipVerify: true };
  const answer = await exchange(access, { method: 'GET', path: '/edge/v1/ca', idleTimeoutMs: timeoutMs });
  const pem = await readAnswer(access, answer);
  let found: Buffer;
  try {
    const key = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
    found = createHash('sha256').update(key).digest();
  } catch (err) {
    throw new EdgeError('EDGE_ERR_CTL_JOIN', `join ${server}: its authority is no certificate`, {
      cause: err,
    });
  }
  if (!timingSafeEqual(found, Buffer.from(pin, 'hex'))) {
    throw new EdgeError('EDGE_ERR_CTL_JOIN', `join ${server}: its authority is not the one of the token`, {
      hint: 'the token is of another node, or somebody stands between; nothing was sent',
    });
  }
  return pem;
}

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('join --server URL --token TOKEN', 'Join a node with a token of it.')
    .option('--token <TOKEN>', 'what "edge ctl join-token create" printed there; - reads it from stdin')
    .option('--as <NODE>', "this node's name (default the host name)")
    .option('-o, --output <FILE>', 'where the kubeconfig goes (default -, stdout)');
  await runVerb(command, argv, async ({ settings, print }) => {
    const flags = command.opts<{ token?: string; as?: string; output?: string }>();
    const { server, requestTimeout } = settings;
    if (server === undefined || !server.startsWith('https://'))
      throw new UsageError('join: --server wants the https:// address of the node to join');
    const token = flags.token === '-' ? readFileSync(0, 'utf8').trim() : (flags.token ?? '');
    const [, secret, pin] = TOKEN.exec(token) ?? [];
    if (secret === undefined || pin === undefined) throw new UsageError('join: --token is not a join token');
    const ca = await fetchAuthority(server, pin, requestTimeout);
    const { publicKey, privateKey } = makeKey();
    const node = (flags.as ?? process.env['EDGE_NODE_NAME'] ?? hostname()).toLowerCase();
    const access: ClusterAccess = { server, ca, token: secret };
    const wanted = { node, publicKey };
    const signed = await call<SignedCertificate>(access, 'POST', '/edge/v1/join', requestTimeout, wanted);
    await writeKubeconfig(
      formatKubeconfig(server, { ...signed, ca }, privateKey),
      flags.output ?? '-',
      print,
    );
  });
}
