/** `edge ctl patch`: changes fields of objects by a merge patch (RFC 7386) or a JSON patch (RFC 6902). */
import type { KubeObject } from '../../api/meta.ts';
import { resourcePath } from '../../apiclient/client.ts';
import { apiError } from '../../apiclient/errors.ts';
import { UsageError } from '../../lib/errors.ts';
import { parseYaml } from '../../lib/yaml.ts';
import { readTextFile } from '../options.ts';
import { objectPrinter } from './printers/objects.ts';
import { parseTargets, singularName } from './resources.ts';
import type { Target } from './resources.ts';
import { createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

interface PatchFlags {
  patch?: string;
  patchFile?: string;
  type: string;
  subresource?: string;
  dryRun: string;
  output?: string;
  fieldManager: string;
}

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('patch (TYPE NAME | TYPE/NAME) -p PATCH', 'Change fields of an object.')
    .argument('<WHAT...>')
    .option('-p, --patch <PATCH>', 'the patch, JSON or YAML')
    .option('--patch-file <FILE>', 'a file that holds the patch')
    .option('--type <TYPE>', 'merge or json', 'merge')
    .option('--subresource <NAME>', 'patch this part: status')
    .option('--dry-run <MODE>', 'none or server (store nothing)', 'none')
    .option('--field-manager <NAME>', 'who changes the fields', 'kubectl-patch')
    .option('-o, --output <FORMAT>', 'json, yaml, name, jsonpath=…');
  await runVerb(command, argv, (session, args) => patch(session, args, command.opts<PatchFlags>()));
}

async function patch(session: Session, args: readonly string[], flags: PatchFlags): Promise<void> {
  const { type, dryRun } = flags;
  if (type !== 'merge' && type !== 'json') {
    throw new UsageError(`--type must be merge or json, not "${type}"`, {
      hint: 'custom kinds have no strategic merge',
    });
  }
  if (dryRun !== 'none' && dryRun !== 'server')
    throw new UsageError(`invalid dry-run value (${dryRun}). Must be "none" or "server".`);
  if ((flags.patch === undefined) === (flags.patchFile === undefined))
    throw new UsageError('must specify --patch or --patch-file containing the contents of the patch');
  const text = flags.patch ?? readTextFile(flags.patchFile ?? '', '--patch-file');
  const body = parseYaml(text, flags.patchFile ?? '--patch');
  if (typeof body !== 'object' || body === null || Array.isArray(body) !== (type === 'json')) {
    throw new UsageError(
      `a ${type} patch is ${type === 'json' ? 'a list of operations' : 'a map of fields'}`,
    );
  }
  const targets = parseTargets(args);
  const printer = await objectPrinter(flags.output);
  for (const target of targets) {
    const { resource, name } = target;
    if (name === undefined) throw new UsageError('resource(s) were provided, but no name was specified');
    const before = await current(session, target, flags.subresource);
    const after = await session.client.patch(resource, name, body, {
      type,
      subresource: flags.subresource,
      fieldManager: flags.fieldManager,
      dryRun: dryRun === 'server',
    });
    // a write that changes nothing keeps its version
    const isSame = before.metadata.resourceVersion === after.metadata.resourceVersion && dryRun === 'none';
    const suffix = `${isSame ? ' (no change)' : ''}${dryRun === 'server' ? ' (server dry run)' : ''}`;
    await session.print(
      printer === undefined ? `${singularName(resource)}/${name} patched${suffix}\n` : printer(after),
    );
  }
}

async function current(
  session: Session,
  { resource, name }: Target,
  subresource: string | undefined,
): Promise<KubeObject> {
  const answer = await session.client.request('GET', resourcePath(resource, name, subresource));
  if (answer.status >= 400) throw apiError(answer.status, answer.text, session.client.server);
  return JSON.parse(answer.text) as KubeObject;
}
