/** `edge ctl edit`: opens objects in an editor and sends what was changed; what is refused opens the editor again. */
import type { KubeObject } from '../../api/meta.ts';
import { resourcePath } from '../../apiclient/client.ts';
import { ApiError, apiError, isConflict } from '../../apiclient/errors.ts';
import { EdgeError, errorMessage, UsageError } from '../../lib/errors.ts';
import { formatYaml, parseYaml } from '../../lib/yaml.ts';
import { changesOf, editable, foreignChanges, identityProblem, overlap, patched } from './edit-changes.ts';
import type { MergePatch } from './edit-changes.ts';
import { createEditedFile } from './editor.ts';
import type { EditedFile } from './editor.ts';
import { failureText } from './failure.ts';
import { sortKeys } from './printers/sort-keys.ts';
import { parseTargets, singularName } from './resources.ts';
import type { Target } from './resources.ts';
import { createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

interface EditFlags {
  output: string;
  subresource?: string;
  fieldManager: string;
}

/** Tries to send one change while others write the same object. */
const MAX_TRIES = 5;
/** Refusals that another text may turn into consent. */
const CORRECTABLE: ReadonlySet<number> = new Set([400, 409, 413, 422]);

const HEADER = [
  'Change the object below, save, and close the editor. Lines that begin with # do not count; an empty file',
  'leaves everything as it is. When the change is refused, the editor opens again with the reason.',
];

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('edit (TYPE NAME | TYPE/NAME)', 'Change objects in an editor.')
    .argument('<WHAT...>')
    .option('-o, --output <FORMAT>', 'edit as yaml or json', 'yaml')
    .option('--subresource <NAME>', 'edit this part: status')
    .option('--field-manager <NAME>', 'who changes the fields', 'kubectl-edit')
    .addHelpText('after', '\nThe editor is that of KUBE_EDITOR or EDITOR, else vi.');
  await runVerb(command, argv, (session, args) => editAll(session, args, command.opts<EditFlags>()));
}

async function editAll(session: Session, args: readonly string[], flags: EditFlags): Promise<void> {
  if (flags.output !== 'yaml' && flags.output !== 'json')
    throw new UsageError(`--output must be yaml or json, not "${flags.output}"`);
  if (flags.subresource !== undefined && flags.subresource !== 'status')
    throw new UsageError(`--subresource must be status, not "${flags.subresource}"`);
  for (const target of parseTargets(args)) {
    if (target.name === undefined)
      throw new UsageError('resource(s) were provided, but no name was specified');
    const file = createEditedFile(`.${flags.output}`, process.env);
    let isWorthKeeping = false;
    try {
      await editObject({ session, target, flags, file }, () => (isWorthKeeping = true));
      isWorthKeeping = false;
    } finally {
      if (isWorthKeeping) session.warn(`a copy of your changes is in ${file.path}`);
      else file.remove();
    }
  }
}

interface Edit {
  session: Session;
  target: Target;
  flags: EditFlags;
  file: EditedFile;
}

/** What became of a change: stored, or why not, and the newest state when others changed the same. */
type Outcome = 'stored' | { problem: string; newest?: KubeObject };

/** Edits until the change is stored or given up; `onChange` is called once there is something to lose. */
async function editObject(edit: Edit, onChange: () => void): Promise<void> {
  const { session, target, flags, file } = edit;
  const name = `${singularName(target.resource)}/${target.name ?? ''}`;
  let base = await read(edit);
  let text = format(editable(base), flags);
  let problem: string | undefined;
  let mayInsist = false;
  for (;;) {
    const shown = withHeader(text, problem);
    const saved = await file.edit(shown);
    const content = withoutComments(saved);
    const isSame = mayInsist ? saved === shown : content === withoutComments(text);
    if (isSame || content.trim() === '') {
      if (problem !== undefined)
        throw new EdgeError('EDGE_ERR_CTL_EDIT', 'Edit cancelled, no valid changes were saved.');
      await session.print(`Edit cancelled, ${isSame ? 'no changes made' : 'saved file was empty'}.\n`);
      return;
    }
    onChange();
    text = content;
    const edited = parse(content, base);
    const changes = typeof edited === 'string' ? {} : changesOf(editable(base), edited);
    if (typeof edited !== 'string' && Object.keys(changes).length === 0) {
      await session.print('Edit cancelled, no changes made.\n');
      return;
    }
    const outcome = typeof edited === 'string' ? { problem: edited } : await send(edit, base, changes);
    if (outcome === 'stored') {
      await session.print(`${name} edited\n`);
      return;
    }
    problem = outcome.problem;
    session.warn(`error: ${name} was not changed: ${problem}`);
    mayInsist = outcome.newest !== undefined;
    if (outcome.newest !== undefined) {
      base = outcome.newest;
      text = format(patched(editable(base), changes), flags);
    }
  }
}

async function read({ session, target, flags }: Edit): Promise<KubeObject> {
  const path = resourcePath(target.resource, target.name, flags.subresource);
  const answer = await session.client.request('GET', path);
  if (answer.status >= 400) throw apiError(answer.status, answer.text, session.client.server);
  return JSON.parse(answer.text) as KubeObject;
}

/** Sends a change for exactly the newest state, so that nothing that others do meanwhile is lost unseen. */
async function send(edit: Edit, base: KubeObject, changes: MergePatch): Promise<Outcome> {
  const { session, target, flags } = edit;
  for (let attempt = 1; ; attempt++) {
    const newest = await read(edit);
    if (newest.metadata.uid !== base.metadata.uid)
      return { problem: 'it was deleted and made anew meanwhile', newest };
    const both = overlap(changes, foreignChanges(base, newest, flags.subresource));
    if (both.length > 0) {
      return {
        problem: `somebody else changed ${both.join(', ')} meanwhile; delete this line to have your values replace theirs`,
        newest,
      };
    }
    const metadata = (changes['metadata'] ?? {}) as MergePatch;
    const patch = {
      ...changes,
      metadata: { ...metadata, resourceVersion: newest.metadata.resourceVersion },
    };
    try {
      await session.client.patch(target.resource, target.name ?? '', patch, {
        type: 'merge',
        subresource: flags.subresource,
        fieldManager: flags.fieldManager,
        fieldValidation: 'Strict',
      });
      return 'stored';
    } catch (err) {
      if (isConflict(err) && attempt < MAX_TRIES) continue;
      if (err instanceof ApiError && CORRECTABLE.has(err.statusCode)) return { problem: failureText(err) };
      throw err;
    }
  }
}

function format(object: KubeObject, flags: EditFlags): string {
  const sorted = sortKeys(object);
  return flags.output === 'json' ? `${JSON.stringify(sorted, undefined, 4)}\n` : formatYaml(sorted);
}

function withHeader(text: string, problem: string | undefined): string {
  const lines = problem === undefined ? HEADER : [...HEADER, '', ...problem.split('\n')];
  return `${lines.map((line) => `# ${line}`.trimEnd()).join('\n')}\n${text}`;
}

function withoutComments(text: string): string {
  return text.replaceAll(/^#.*(?:\r?\n|$)/gmu, '');
}

/** The edited object, or what is wrong with it. */
function parse(text: string, base: KubeObject): KubeObject | string {
  let value: unknown;
  try {
    value = parseYaml(text, 'the file', { hasBooleanWords: true });
  } catch (err) {
    return errorMessage(err);
  }
  return identityProblem(base, value) ?? (value as KubeObject);
}
