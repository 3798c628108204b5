/** New keys and the kubeconfigs they go into; a private key is made here and never sent. */
import { generateKeyPairSync } from 'node:crypto';
import { writeFileAtomic } from '../../lib/atomic-file.ts';
import { formatYaml } from '../../lib/yaml.ts';

/** What a server answers when it has signed a certificate. */
export interface SignedCertificate {
  node: string;
  role: string;
  /** PEM. */
  certificate: string;
  /** PEM of what to trust; absent when the system's authorities are enough. */
  ca?: string;
}

/** Makes an ECDSA P-256 key; both halves as PEM. */
export function makeKey(): { publicKey: string; privateKey: string } {
  return generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
}

/** The text of a kubeconfig. */
export function formatKubeconfig(server: string, signed: SignedCertificate, privateKey: string): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  const { ca, role, certificate } = signed;
  const cluster = { server, ...(ca === undefined ? {} : { 'certificate-authority-data': base64(ca) }) };
  const user = { 'client-certificate-data': base64(certificate), 'client-key-data': base64(privateKey) };
  return formatYaml({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'edge', cluster }],
    users: [{ name: role, user }],
    contexts: [{ name: 'edge', context: { cluster: 'edge', user: role } }],
    'current-context': 'edge',
  });
}

/** Writes a kubeconfig to a file (mode 0600), or prints it for `-`. */
export async function writeKubeconfig(
  text: string,
  file: string,
  print: (text: string) => Promise<void>,
): Promise<void> {
  if (file === '-') await print(text);
  else {
    await writeFileAtomic(file, text, 0o600);
    await print(`kubeconfig written: ${file}\n`);
  }
}
