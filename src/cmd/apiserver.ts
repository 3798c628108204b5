/** `edge apiserver`: flags, variables and defaults to one checked configuration, then the component's life. */
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { checkStoreFiles } from '../apiserver/store/check.ts';
import { createApiServer } from '../apiserver/server.ts';
import { formatHostPort, isLoopbackHost, parseHostPort } from '../lib/address.ts';
import { UsageError } from '../lib/errors.ts';
import { integerOption, listOption, stringOption, switchOption } from '../lib/options.ts';
import { EXIT_FAILURE, ExitStatus } from './exit.ts';
import { adapterOptions, readAdapterConfig } from './adapter-options.ts';
import { addOptions, createCommand } from './options.ts';
import { createContext, processOptions, readSettings, runComponent } from './process.ts';

const DEFAULT_LISTEN = '127.0.0.1:7443';

const apiserverOptions = {
  listen: listOption({
    description: 'HTTPS address to serve on; port 0 picks a free one',
    placeholder: 'HOST:PORT',
    env: 'EDGE_LISTEN',
    default: [DEFAULT_LISTEN],
    defaultText: DEFAULT_LISTEN,
  }),
  insecureHttp: switchOption({
    description: 'serve plain HTTP without asking for credentials, on loopback addresses only',
    env: 'EDGE_INSECURE_HTTP',
  }),
  socket: stringOption({
    description: 'also serve on a unix socket, mode 0660; its users have the sidecar role',
    placeholder: 'PATH',
    env: 'EDGE_SOCKET',
  }),
  node: stringOption({
    description: "this node's name",
    placeholder: 'NAME',
    env: 'EDGE_NODE_NAME',
    defaultText: 'the host name',
  }),
  tlsCert: stringOption({
    description: 'own serving certificate, PEM; made on first start when absent',
    placeholder: 'FILE',
    env: 'EDGE_TLS_CERT',
  }),
  tlsKey: stringOption({
    description: 'the key of --tls-cert, PEM',
    placeholder: 'FILE',
    env: 'EDGE_TLS_KEY',
  }),
  clientCa: stringOption({
    description: 'also accept client certificates signed by these authorities, PEM',
    placeholder: 'FILE',
    env: 'EDGE_CLIENT_CA',
  }),
  tokenAuthFile: stringOption({
    description: 'bearer tokens, lines of token,user,uid,"group,group"; groups name roles',
    placeholder: 'FILE',
    env: 'EDGE_TOKEN_AUTH_FILE',
  }),
  auditLog: stringOption({
    description: 'append one JSON line a write',
    placeholder: 'FILE',
    env: 'EDGE_AUDIT_LOG',
  }),
  ...adapterOptions,
  journalBytes: integerOption({
    description: 'fold the journal into a checkpoint when it is longer than this',
    default: 16 * 1024 * 1024,
    min: 4096,
    max: 1024 * 1024 * 1024,
    env: 'EDGE_JOURNAL_BYTES',
  }),
  checkDb: switchOption({
    description: 'check the files of the store, print a report and end; never writes',
  }),
  ...processOptions,
};

const HELP = `
On first start it makes an authority and a serving certificate in <data-dir>/pki, and
writes admin, router, syncer, sidecar and cloud.kubeconfig (mode 0600) into <data-dir>.

Examples:
  edge apiserver
  edge apiserver --listen 127.0.0.1:7443 --listen 192.0.2.10:7443 --node node-1
  edge apiserver --data-dir /tmp/edge --insecure-http --listen 127.0.0.1:8080
  edge apiserver --check-db
  edge apiserver --adapter-listen 0.0.0.0:7480 --adapter-tls --token-auth-file tokens.csv
      # terminals on the nodes: https://HOST:7480/terminal/
  kubectl --kubeconfig /var/lib/edge/admin.kubeconfig get routers

Signals: SIGTERM and SIGINT drain and stop; SIGHUP re-reads tokens and certificates and
opens the audit log again.`;

/** `--check-db`: the report on stdout; exit status 1 when a server would not start from these files. */
async function checkDatabase(dir: string): Promise<void> {
  const { lines, problems } = await checkStoreFiles(dir);
  for (const line of lines) process.stdout.write(`${line}\n`);
  for (const problem of problems) process.stdout.write(`problem: ${problem}\n`);
  process.stdout.write(
    problems.length === 0 ? 'the store is sound\n' : `${problems.length} problems; nothing was changed\n`,
  );
  if (problems.length > 0) throw new ExitStatus(EXIT_FAILURE);
}

/** Runs the subcommand; resolves once the process is told its exit status. */
export async function run(argv: readonly string[], programName: string): Promise<void> {
  const command = createCommand(
    programName,
    'Serve the Kubernetes API of this node: Routers and NodeMaintenances.',
  );
  addOptions(command, apiserverOptions);
  command.addHelpText('after', HELP);
  command.allowExcessArguments(false);
  await command.parseAsync([...argv], { from: 'user' });
  // the heap of a server that makes much garbage and keeps little grows to several times what is in it otherwise
  setFlagsFromString('--heap-growing-percent=30');
  // young objects are collected before other threads have woken to help, where those have something else to do
  setFlagsFromString('--no-parallel-scavenge');
  // the compiler between the baseline and the optimizing one takes some 6 MiB here and makes nothing quicker (from Node 22 on)
  setFlagsFromString('--no-maglev');
  const settings = readSettings(command, apiserverOptions, undefined);
  const { tlsCert, tlsKey, insecureHttp, node } = settings;
  const listen = settings.listen.map((address) => parseHostPort(address, '--listen'));
  if (listen.length === 0) throw new UsageError('--listen: wanted at least one address');
  if ((tlsCert === undefined) !== (tlsKey === undefined))
    throw new UsageError('--tls-cert and --tls-key go together');
  if (insecureHttp) {
    const open = listen.find(({ host }) => !isLoopbackHost(host));
    if (open !== undefined) {
      throw new UsageError(
        `--insecure-http: ${formatHostPort(open.host, open.port)} is not a loopback address; anyone who reaches it would be admin`,
      );
    }
    if (tlsCert !== undefined) throw new UsageError('--insecure-http and --tls-cert exclude each other');
    if (settings.adapterTls) throw new UsageError('--insecure-http and --adapter-tls exclude each other');
  }
  const context = createContext('apiserver', settings);
  if (settings.checkDb) {
    await checkDatabase(join(context.dataDir, 'store'));
    return;
  }
  const server = createApiServer(
    {
      dataDir: context.dataDir,
      node: (node ?? hostname()).toLowerCase(),
      listen,
      isInsecure: insecureHttp,
      socket: settings.socket,
      tls: tlsCert === undefined || tlsKey === undefined ? undefined : { certFile: tlsCert, keyFile: tlsKey },
      clientCaFile: settings.clientCa,
      tokenAuthFile: settings.tokenAuthFile,
      auditLog: settings.auditLog,
      adapter: readAdapterConfig(settings),
      journalBytes: settings.journalBytes,
      drainTimeoutMs: context.drainTimeoutMs,
    },
    { log: context.log, registry: context.registry },
  );
  await runComponent(server, context, settings);
}
