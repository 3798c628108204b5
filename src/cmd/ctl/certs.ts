/** `edge ctl certs issue|renew|list|ssh|ssh-ca`: certificates that this node's authorities sign, of nodes and for sshds. */
import { loadAccess } from '../../apiclient/kubeconfig.ts';
import { UsageError } from '../../lib/errors.ts';
import { formatKubeconfig, makeKey, writeKubeconfig } from './credentials.ts';
import type { SignedCertificate } from './credentials.ts';
import { call } from './exchange.ts';
import { showSshAuthority, signSshKey } from './ssh-certs.ts';
import { createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

const HELP = `
Examples:
  edge ctl certs issue --node node-2 -o node-2.kubeconfig
  edge ctl certs ssh ~/.ssh/id_ed25519.pub --principals root,admin --ttl 30m
  edge ctl certs ssh-ca > /etc/ssh/edge_ca.pub      # for TrustedUserCAKeys in sshd_config`;

interface Flags {
  node?: string;
  role?: string;
  address?: string;
  output?: string;
  principals?: string;
  ttl?: string;
  forceCommand?: string;
  sourceAddress?: string;
}

interface ListedCertificate {
  serial: string;
  node: string;
  role: string;
  notAfter: string;
  by: string;
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
    'certs issue|renew|list|ssh|ssh-ca',
    'Issue, renew and list the certificates with which other nodes reach this one, and sign SSH keys.',
  )
    .argument('<ACTION>', 'issue, renew, list, ssh or ssh-ca')
    .argument('[FILE]', 'renew: the kubeconfig to renew, in place; ssh: the public key to sign')
    .option('--node <NAME>', 'issue: the other node')
    .option('--role <ROLE>', 'issue: admin, router, syncer, sidecar or cloud (default syncer)')
    .option('--address <URL>', 'issue: the address of this node in the kubeconfig (default the one in use)')
    .option('--principals <LIST>', 'ssh: the accounts on the nodes that the certificate is good for')
    .option('--ttl <DURATION>', 'ssh: how long it is good (default 15m, at most 24h)')
    .option('--force-command <CMD>', 'ssh: the only command it may run')
    .option('--source-address <LIST>', 'ssh: the only addresses or networks it may come from')
    .option(
      '-o, --output <FILE>',
      'issue: where the kubeconfig goes (default -, stdout); ssh: where the certificate goes (default FILE-cert.pub); list: json',
    )
    .addHelpText('after', HELP);
  await runVerb(command, argv, async (session, [action, file]) => {
    const flags = command.opts<Flags>();
    if (action === 'issue') await issue(session, flags);
    else if (action === 'renew') await renew(session, file);
    else if (action === 'list') await list(session, flags.output);
    else if (action === 'ssh') await signSshKey(session, file, flags);
    else if (action === 'ssh-ca') await showSshAuthority(session);
    else throw new UsageError(`certs: "${action ?? ''}" is not one of issue, renew, list, ssh, ssh-ca`);
  });
}
