/** `edge ctl inject`: manifests with the sidecar added to their pods, on stdout. Asks no API server. */
import { readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { UsageError } from '../../lib/errors.ts';
import { editYamlDocuments } from '../../lib/yaml-edit.ts';
import { parseExported, parseMapped } from '../../sidecar/services.ts';
import { createCommand, readTextFile } from '../options.ts';
import { injectionChanges } from './inject-pod.ts';
import type { Injection } from './inject-pod.ts';
import { collect } from './verb.ts';

interface Flags {
  filename?: string[];
  image?: string;
  map?: string;
  export?: string;
  secret?: string;
  dnsUpstream?: string;
  namespace: string;
  clusterDomain: string;
  socket: string;
}

const HELP = `
Examples:
  edge ctl inject -f pod.yaml --image registry.example/edge:1 --export web=8080 --secret edge | kubectl apply -f -
  edge ctl inject -f - --image registry.example/edge:1 --map mysql:3306 --dns-upstream 10.96.0.10 < app.yaml`;

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createCommand('edge ctl inject', 'Print manifests with the sidecar added to their pods.')
    .usage('-f FILE --image IMAGE [flags]')
    .option('-f, --filename <FILE>', 'manifests, - for stdin (repeatable)', collect)
    .option('--image <IMAGE>', 'the image to run: edge and node in its PATH; none is published')
    .option('--map <LIST>', 'services to bring here, as SIDECAR_MAPPED_SERVICES')
    .option('--export <LIST>', 'services to publish, as SIDECAR_EXPORTED_SERVICES')
    .option('--secret <NAME>', 'a Secret with the keys router-token and secret-key')
    .option('--dns-upstream <LIST>', 'where the pod asks for other names; "off" leaves its DNS as it is')
    .option('-n, --namespace <NAME>', 'of manifests that name none', 'default')
    .option('--cluster-domain <DOMAIN>', 'suffix of service names', 'cluster.local')
    .option('--socket <PATH>', "unix socket of the node's API server", '/run/edge/apiserver.sock')
    .allowExcessArguments(false)
    .addHelpText('after', HELP);
  command.parse([...argv], { from: 'user' });
  const { filename: files = [], ...flags } = command.opts<Flags>();
  if (files.length === 0) throw new UsageError('inject: must specify --filename, -f');
  const injection = injectionOf(flags);
  const texts = files.map((file) => {
    const source = file === '-' ? 'STDIN' : file;
    const text = file === '-' ? readFileSync(0, 'utf8') : readTextFile(file, '--filename');
    return editYamlDocuments(text, source, (value, number) =>
      injectionChanges(value, injection, `${source}: document ${number}`),
    );
  });
  await new Promise<void>((resolve) => {
    process.stdout.write(joined(texts), () => resolve());
  });
}

function injectionOf(flags: Omit<Flags, 'filename'>): Injection {
  const { image, namespace, map: mapped, export: exported, dnsUpstream, ...rest } = flags;
  if (image === undefined) throw new UsageError('inject: --image is missing: there is no published image');
  if (mapped === undefined && exported === undefined)
    throw new UsageError('inject: --map or --export must say which services the pods use or publish');
  for (const entry of listOf(mapped)) parseMapped(entry, '--map', namespace);
  for (const entry of listOf(exported)) parseExported(entry, '--export', namespace);
  if (mapped !== undefined && dnsUpstream === undefined)
    throw new UsageError(
      'inject: --map wants --dns-upstream, where the pods ask for names that are not mapped',
      {
        hint: 'the cluster\'s: kubectl -n kube-system get service kube-dns; or "off" if the pods need no names',
      },
    );
  if (!isAbsolute(flags.socket)) throw new UsageError(`--socket: "${flags.socket}" is no absolute path`);
  return {
    image,
    namespace,
    mapped,
    exported,
    clusterDomain: rest.clusterDomain,
    socket: rest.socket,
    secret: rest.secret,
    dnsUpstream: dnsUpstream === 'off' ? undefined : dnsUpstream,
  };
}

function listOf(text: string | undefined): string[] {
  return (text ?? '')
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');
}

/** Several files become several documents. */
function joined(texts: readonly string[]): string {
  return texts
    .map((text, at) => (at === 0 || /^(?:#[^\n]*\n|\s)*---/u.test(text) ? text : `---\n${text}`))
    .map((text) => (text.endsWith('\n') ? text : `${text}\n`))
    .join('');
}
