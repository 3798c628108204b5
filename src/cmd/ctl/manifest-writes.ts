/** What the verbs that write manifests do alike: which type, how strictly, one object after the other. */
import type { Command } from 'commander';
import type { KubeObject, ResourceRef } from '../../api/meta.ts';
import { ApiError } from '../../apiclient/errors.ts';
import { EdgeError, UsageError } from '../../lib/errors.ts';
import { EXIT_FAILURE, ExitStatus } from '../exit.ts';
import { failureText } from './failure.ts';
import { readManifests } from './manifests.ts';
import type { Manifest } from './manifests.ts';
import { objectPrinter } from './printers/objects.ts';
import { resourceOfKind, singularName } from './resources.ts';
import { withLastApplied } from './three-way.ts';
import { collect } from './verb.ts';
import type { Session } from './verb.ts';

/** The flags of create and replace. */
export interface WriteFlags {
  filename?: string[];
  recursive?: boolean;
  dryRun: string;
  fieldManager: string;
  validate: string;
  output?: string;
  saveConfig?: boolean;
  showManagedFields?: boolean;
}

/** Adds those flags; `manager` is the default of --field-manager. */
export function addWriteOptions(command: Command, manager: string): Command {
  return command
    .argument('[UNWANTED...]')
    .option('-f, --filename <FILE>', 'file, directory or - for standard input; repeatable', collect)
    .option('-R, --recursive', 'also files of directories below')
    .option('--dry-run <MODE>', 'none, client (send nothing) or server (store nothing)', 'none')
    .option('--field-manager <NAME>', 'who owns the fields', manager)
    .option('--validate <MODE>', 'strict, warn or ignore unknown fields', 'strict')
    .option('--save-config', 'keep the manifest in an annotation, for a later apply')
    .option('-o, --output <FORMAT>', 'json, yaml, name, jsonpath=…')
    .option('--show-managed-fields', 'keep metadata.managedFields in json and yaml');
}

/** Reads the value of `--validate`. Throws UsageError. */
export function validationOf(word: string): 'Strict' | 'Warn' | 'Ignore' {
  switch (word) {
    case 'strict':
    case 'true':
      return 'Strict';
    case 'warn':
      return 'Warn';
    case 'ignore':
    case 'false':
      return 'Ignore';
    default:
      throw new UsageError(
        `invalid - validate option "${word}"; must be one of: strict (or true), warn, ignore (or false)`,
      );
  }
}

/** The code of the error of a manifest whose type this API does not have. */
export const UNKNOWN_KIND = 'EDGE_ERR_CTL_KIND';

/** The type of a manifest. Throws an error with the code UNKNOWN_KIND. */
export function resourceOfManifest({ source, object }: Manifest): ResourceRef {
  const { apiVersion, kind, metadata } = object;
  const resource = resourceOfKind(apiVersion, kind);
  if (resource !== undefined) return resource;
  throw new EdgeError(
    UNKNOWN_KIND,
    `resource mapping not found for name: "${metadata.name ?? ''}" namespace: "${metadata.namespace ?? ''}" from "${source}": no matches for kind "${kind}" in version "${apiVersion}"`,
    { hint: 'the kinds are Router and NodeMaintenance of edge.example.com/v1' },
  );
}

/** Checks the value of `--dry-run`. Throws UsageError. */
export function checkDryRun(mode: string): void {
  if (!['none', 'client', 'server'].includes(mode))
    throw new UsageError(`Invalid dry-run value (${mode}). Must be "none", "server", or "client".`);
}

/** What follows the word for what was done. */
export function dryRunSuffix(mode: string): string {
  return { client: ' (dry run)', server: ' (server dry run)' }[mode] ?? '';
}

/** One manifest that is to be written. */
export interface Write {
  resource: ResourceRef;
  /** As the file has it, with the record of --save-config. */
  object: KubeObject;
  options: { fieldManager: string; fieldValidation: 'Strict' | 'Warn' | 'Ignore'; dryRun: boolean };
}

/** Reads the manifests of the flags. Throws UsageError. */
export async function manifestsOf(
  verb: string,
  args: readonly string[],
  flags: WriteFlags,
): Promise<Manifest[]> {
  checkDryRun(flags.dryRun);
  if (args.length > 0) {
    throw new UsageError(`Unexpected args: [${args.join(' ')}]`, {
      hint: `run "edge ctl ${verb} --help" for usage`,
    });
  }
  if (flags.filename === undefined) throw new UsageError('must specify -f');
  return readManifests(flags.filename, flags.recursive ?? false);
}

/** Writes each manifest and says so; one that fails does not keep the others back, but fails the whole. */
export async function writeManifests(
  session: Session,
  manifests: readonly Manifest[],
  flags: WriteFlags,
  { doing, done, write }: { doing: string; done: string; write: (each: Write) => Promise<KubeObject> },
): Promise<void> {
  const printer = await objectPrinter(flags.output, { isManagedShown: flags.showManagedFields ?? false });
  const options = {
    fieldManager: flags.fieldManager,
    fieldValidation: validationOf(flags.validate),
    dryRun: flags.dryRun === 'server',
  };
  let hasFailed = false;
  for (const manifest of manifests) {
    try {
      const resource = resourceOfManifest(manifest);
      const object = flags.saveConfig === true ? withLastApplied(manifest.object) : manifest.object;
      const result = flags.dryRun === 'client' ? object : await write({ resource, object, options });
      await session.print(
        printer === undefined
          ? `${singularName(resource)}/${result.metadata.name ?? ''} ${done}${dryRunSuffix(flags.dryRun)}\n`
          : printer(result),
      );
    } catch (err) {
      hasFailed = true;
      const context = err instanceof ApiError ? `error when ${doing} "${manifest.source}"` : undefined;
      session.warn(failureText(err, context));
    }
  }
  if (hasFailed) throw new ExitStatus(EXIT_FAILURE);
}
