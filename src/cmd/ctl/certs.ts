/** `edge ctl certs issue|renew|list`: client certificates that this node's authority signs for other nodes. */
import { loadAccess } from '../../apiclient/kubeconfig.ts';
import type { ClusterAccess } from '../../apiclient/kubeconfig.ts';
import { UsageError } from '../../lib/errors.ts';
import { formatKubeconfig, makeKey, writeKubeconfig } from './credentials.ts';
import type { SignedCertificate } from './credentials.ts';
import { exchange, readAnswer } from './exchange.ts';
import { createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

interface Flags {
  node?: string;
  role?: string;
  address?: string;
  output?: string;
}

interface ListedCertificate {
  serial: string;
  node: string;
  role: string;
  notAfter: string;
  by: string;
}

/** Sends a small JSON body and reads the JSON answer. */
export async function call<T>(
  access: ClusterAccess,
  method: string,
  path: string,
  idleTimeoutMs: number,
  body?: unknown,
): Promise<T> {
  const text = JSON.stringify(body ?? {});
  const answer = await exchange(access, {
    method,
    path,
    idleTimeoutMs,
    ...(body === undefined
      ? {}
      : {
          headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) },
          send: (request) => void request.end(text),
        }),
  });
  return JSON.parse(await readAnswer(access, answer)) as T;
}

async function issue({ access, settings, print }: Session, flags: Flags): Promise<void> {
  const { node, role = 'syncer', output = '-' } = flags;
  if (node === undefined) throw new UsageError('certs issue: --node is missing: whose certificate is it?');
  const target = await access();
  const { publicKey, privateKey } = makeKey();
  const wanted = { node, role, publicKey };
  const signed = await call<SignedCertificate>(
    target,
    'POST',
    '/edge/v1/certificates',
    settings.requestTimeout,
    wanted,
  );
  await writeKubeconfig(formatKubeconfig(flags.address ?? target.server, signed, privateKey), output, print);
}

async function renew({ settings, print }: Session, file: string | undefined): Promise<void> {
  if (file === undefined)
    throw new UsageError('certs renew: wanted the kubeconfig whose certificate is renewed');
  const target = await loadAccess({ kubeconfig: file, defaultKubeconfigs: [] });
  const { publicKey, privateKey } = makeKey();
  const path = '/edge/v1/certificates/renew';
  const signed = await call<SignedCertificate>(target, 'POST', path, settings.requestTimeout, { publicKey });
  await writeKubeconfig(formatKubeconfig(target.server, signed, privateKey), file, print);
}

async function list({ access, settings, print }: Session, output: string | undefined): Promise<void> {
  const target = await access();
  const answer = await call<{ items: ListedCertificate[] }>(
    target,
    'GET',
    '/edge/v1/certificates',
    settings.requestTimeout,
  );
  if (output === 'json') {
    await print(`${JSON.stringify(answer, undefined, 2)}\n`);
    return;
  }
  const rows = [
    ['NODE', 'ROLE', 'EXPIRES', 'ISSUED BY', 'SERIAL'],
    ...answer.items.map(({ node, role, notAfter, by, serial }) => [node, role, notAfter, by, serial]),
  ];
  const widths = rows[0]?.map((_, at) => Math.max(...rows.map((row) => row[at]?.length ?? 0))) ?? [];
  for (const row of rows)
    await print(
      `${row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('   ')
        .trimEnd()}\n`,
    );
}

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb(
    'certs issue|renew|list',
    'Issue, renew and list the certificates with which other nodes reach this one.',
  )
    .argument('<ACTION>', 'issue, renew or list')
    .argument('[FILE]', 'renew: the kubeconfig to renew, in place')
    .option('--node <NAME>', 'issue: the other node')
    .option('--role <ROLE>', 'issue: admin, router, syncer, sidecar or cloud (default syncer)')
    .option('--address <URL>', 'issue: the address of this node in the kubeconfig (default the one in use)')
    .option('-o, --output <FILE>', 'issue: where the kubeconfig goes (default -, stdout); list: json');
  await runVerb(command, argv, async (session, [action, file]) => {
    const flags = command.opts<Flags>();
    if (action === 'issue') await issue(session, flags);
    else if (action === 'renew') await renew(session, file);
    else if (action === 'list') await list(session, flags.output);
    else throw new UsageError(`certs: "${action ?? ''}" is not one of issue, renew, list`);
  });
}
