/** The SSH half of `edge ctl certs`: a public key becomes a certificate, and the line that makes an sshd trust it. */
import { readFile } from 'node:fs/promises';
import { writeFileAtomic } from '../../lib/atomic-file.ts';
import { errorMessage, UsageError } from '../../lib/errors.ts';
import { parseDuration } from '../../lib/options.ts';
import { call, exchange, readAnswer } from './exchange.ts';
import type { Session } from './verb.ts';

/** What the command line says about the certificate. */
export interface SshCertFlags {
  principals?: string;
  ttl?: string;
  forceCommand?: string;
  sourceAddress?: string;
  output?: string;
}

interface Signed {
  certificate: string;
  serial: string;
  keyId: string;
  principals: string[];
  validBefore: string;
}

/** Has a public key signed; the certificate goes beside it, where ssh finds it by itself. */
export async function signSshKey(
  { access, settings, print }: Session,
  file: string | undefined,
  flags: SshCertFlags,
): Promise<void> {
  if (file === undefined)
    throw new UsageError('certs ssh: which public key? For example ~/.ssh/id_ed25519.pub');
  const principals = (flags.principals ?? '').split(',').flatMap((name) => name.trim() || []);
  if (principals.length === 0)
    throw new UsageError('certs ssh: --principals is missing: the accounts it is good for, for example root');
  const { ttl, forceCommand, sourceAddress } = flags;
  const signed = await call<Signed>(
    await access(),
    'POST',
    '/edge/v1/certificates/ssh',
    settings.requestTimeout,
    {
      publicKey: (await readPublicKey(file)).trim(),
      principals,
      ttlSeconds: ttl === undefined ? undefined : Math.round(parseDuration(ttl, '--ttl') / 1000),
      forceCommand,
      sourceAddress,
    },
  );
  const output = flags.output ?? `${file.replace(/\.pub$/u, '')}-cert.pub`;
  const line = `${signed.certificate}\n`;
  if (output === '-') {
    await print(line);
    return;
  }
  await writeFileAtomic(output, line, 0o644);
  const { serial, validBefore } = signed;
  await print(
    `certificate written: ${output}, for ${signed.principals.join(', ')} until ${validBefore}, serial ${serial}\n`,
  );
}

/** Prints the authority's public key. */
export async function showSshAuthority({ access, settings, print }: Session): Promise<void> {
  const target = await access();
  const request = { method: 'GET', path: '/edge/v1/ssh-ca', idleTimeoutMs: settings.requestTimeout };
  await print(await readAnswer(target, await exchange(target, request)));
}

async function readPublicKey(file: string): Promise<string> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (err) {
    throw new UsageError(`certs ssh: cannot read the public key: ${errorMessage(err)}`);
  }
  if (text.includes('PRIVATE KEY'))
    throw new UsageError(`certs ssh: ${file} is a private key, which stays here; give its .pub file`);
  return text;
}
