/** `edge ctl apply`: makes objects as files say, remembering what the file said for the next time. */
import type { KubeObject, ResourceRef } from '../../api/meta.ts';
import { ApiError, isAlreadyExists, isConflict, isNotFound } from '../../apiclient/errors.ts';
import { errorCode, UsageError } from '../../lib/errors.ts';
import { EXIT_FAILURE, ExitStatus } from '../exit.ts';
import { failureText } from './failure.ts';
import { dryRunSuffix, resourceOfManifest, UNKNOWN_KIND, validationOf } from './manifest-writes.ts';
import { readManifests } from './manifests.ts';
import type { Manifest } from './manifests.ts';
import { listOf, objectPrinter } from './printers/objects.ts';
import { resourceOfKind, singularName } from './resources.ts';
import { LAST_APPLIED_ANNOTATION, lastApplied, threeWayPatch, withLastApplied } from './three-way.ts';
import { collect, createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

interface ApplyFlags {
  filename?: string[];
  recursive?: boolean;
  dryRun: string;
  serverSide?: boolean;
  forceConflicts?: boolean;
  fieldManager?: string;
  validate: string;
  output?: string;
  selector?: string;
}

/** A lost race is tried again this often, as kubectl does. */
const MAX_TRIES = 5;

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('apply -f FILE', 'Create or change objects as files say.')
    .option('-f, --filename <FILE>', 'file, directory or - for standard input; repeatable', collect)
    .option('-R, --recursive', 'also files of directories below')
    .option('--dry-run <MODE>', 'none, client (send nothing) or server (store nothing)', 'none')
    .option('--server-side', 'let the server merge and keep track of who owns which field')
    .option('--force-conflicts', 'with --server-side: take fields over from others')
    .option('--field-manager <NAME>', 'who owns the fields that are applied')
    .option('--validate <MODE>', 'strict, warn or ignore unknown fields', 'strict')
    .option('-o, --output <FORMAT>', 'json, yaml, name, jsonpath=…');
  await runVerb(command, argv, (session, args) => apply(session, args, command.opts<ApplyFlags>()));
}

async function apply(session: Session, args: readonly string[], flags: ApplyFlags): Promise<void> {
  if (flags.filename === undefined) throw new UsageError('must specify -f');
  if (args.length > 0) throw new UsageError(`unexpected args: ${args.join(' ')}`);
  if (!['none', 'client', 'server'].includes(flags.dryRun)) {
    throw new UsageError(`invalid dry-run value (${flags.dryRun}). Must be "none", "server", or "client".`);
  }
  if (flags.forceConflicts === true && flags.serverSide !== true)
    throw new UsageError('--force-conflicts only works with --server-side');
  const printer = await objectPrinter(flags.output);
  const results: KubeObject[] = [];
  let hasFailed = false;
  for (const manifest of await readManifests(flags.filename, flags.recursive ?? false)) {
    try {
      const { object, verb } = await applyOne(session, manifest, flags);
      if (printer !== undefined) results.push(object);
      else {
        await session.print(`${nameOf(manifest.object)} ${verb}${dryRunSuffix(flags.dryRun)}\n`);
      }
    } catch (err) {
      // one bad object does not keep the others back
      hasFailed = true;
      if (err instanceof ExitStatus) continue; // said already
      session.warn(
        failureText(err, err instanceof ApiError ? `error when applying "${manifest.source}"` : undefined),
      );
      if (!(err instanceof ApiError) && errorCode(err) !== UNKNOWN_KIND) break;
    }
  }
  const [only] = results;
  if (printer !== undefined && only !== undefined)
    await session.print(printer(results.length === 1 ? only : listOf(results)));
  if (hasFailed) throw new ExitStatus(EXIT_FAILURE);
}

interface Applied {
  object: KubeObject;
  verb: string;
}

function nameOf(object: KubeObject): string {
  const resource = resourceOfKind(object.apiVersion, object.kind);
  return `${resource === undefined ? object.kind.toLowerCase() : singularName(resource)}/${object.metadata.name ?? ''}`;
}

async function applyOne(session: Session, manifest: Manifest, flags: ApplyFlags): Promise<Applied> {
  const { source, object } = manifest;
  const resource = resourceOfManifest(manifest);
  if (flags.serverSide === true) return serverSide(session, resource, object, flags);
  for (let tries = 1; ; tries++) {
    try {
      return await clientSide(session, resource, source, object, flags);
    } catch (err) {
      if ((!isConflict(err) && !isAlreadyExists(err)) || tries >= MAX_TRIES) throw err;
    }
  }
}

function writeOptions(flags: ApplyFlags, manager: string) {
  return {
    fieldManager: flags.fieldManager ?? manager,
    fieldValidation: validationOf(flags.validate),
    dryRun: flags.dryRun === 'server',
  };
}

async function serverSide(
  session: Session,
  resource: ResourceRef,
  object: KubeObject,
  flags: ApplyFlags,
): Promise<Applied> {
  if (flags.dryRun === 'client')
    throw new UsageError(
      "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)",
    );
  const applied = await session.client.patch(resource, object.metadata.name ?? '', object, {
    type: 'apply',
    force: flags.forceConflicts ?? false,
    ...writeOptions(flags, 'kubectl'),
  });
  return { object: applied, verb: 'serverside-applied' };
}

async function clientSide(
  session: Session,
  resource: ResourceRef,
  source: string,
  object: KubeObject,
  flags: ApplyFlags,
): Promise<Applied> {
  const name = object.metadata.name ?? '';
  const modified = withLastApplied(object);
  const options = writeOptions(flags, 'kubectl-client-side-apply');
  let live: KubeObject;
  try {
    live = await session.client.get(resource, name);
  } catch (err) {
    if (!isNotFound(err)) throw err;
    if (flags.dryRun === 'client') return { object: modified, verb: 'created' };
    try {
      return { object: await session.client.create(resource, modified, options), verb: 'created' };
    } catch (failure) {
      if (!(failure instanceof ApiError) || isAlreadyExists(failure)) throw failure;
      session.warn(failureText(failure, `error when creating "${source}"`));
      throw new ExitStatus(EXIT_FAILURE);
    }
  }
  if (live.metadata.annotations?.[LAST_APPLIED_ANNOTATION] === undefined) {
    session.warn(
      `Warning: resource ${resource.plural}/${name} is missing the ${LAST_APPLIED_ANNOTATION} annotation which is required by edge ctl apply. The missing annotation will be patched automatically.`,
    );
  }
  const patch = threeWayPatch(lastApplied(live), modified, live);
  if (Object.keys(patch).length === 0) return { object: live, verb: 'unchanged' };
  if (flags.dryRun === 'client') return { object: modified, verb: 'configured' };
  const patched = await session.client.patch(resource, name, patch, {
    type: 'merge',
    ...options,
  });
  // a list that the server filled with defaults differs from the file although nothing changes
  const isSame =
    patched.metadata.resourceVersion === live.metadata.resourceVersion && flags.dryRun === 'none';
  return { object: patched, verb: isSame ? 'unchanged' : 'configured' };
}
