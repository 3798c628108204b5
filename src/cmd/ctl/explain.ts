/** `edge ctl explain`: what the fields of a type mean, from the OpenAPI document that the server has. */
import type { ResourceRef } from '../../api/meta.ts';
import { EdgeError, UsageError } from '../../lib/errors.ts';
import { EXIT_FAILURE, ExitStatus } from '../exit.ts';
import { readDocument } from './document.ts';
import { Explainer, kindText, schemaOf } from './explain-text.ts';
import type { OpenApi } from './explain-text.ts';
import { resourceOf } from './resources.ts';
import { createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

interface ExplainFlags {
  recursive?: boolean;
  apiVersion?: string;
  output: string;
}

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb(
    'explain TYPE[.FIELD…]',
    'Say what the fields of a type mean, such as routers.spec.frps.',
  )
    .argument('[WHAT...]')
    .option('--recursive', 'all fields within fields, by name and type only')
    .option('--api-version <GROUP/VERSION>', 'this version of the type')
    .option('--output <FORMAT>', 'plaintext', 'plaintext');
  await runVerb(command, argv, (session, args) => explain(session, args, command.opts<ExplainFlags>()));
}

async function explain(session: Session, args: readonly string[], flags: ExplainFlags): Promise<void> {
  const [what, ...more] = args;
  if (what === undefined) {
    throw new UsageError(
      'You must specify the type of resource to explain. Use "edge ctl api-resources" for a complete list of supported resources.',
    );
  }
  if (more.length > 0) throw new UsageError('We accept only this format: explain RESOURCE');
  if (flags.output !== 'plaintext') throw new UsageError(`unrecognized format: ${flags.output}`);
  const { resource, path } = splitPath(what.replace(/\.$/u, ''));
  if (resource === undefined) {
    session.warn(`the server doesn't have a resource type "${what.split('.', 1)[0] ?? ''}"`);
    throw new ExitStatus(EXIT_FAILURE);
  }
  const { group, version } = resource;
  const wanted = flags.apiVersion ?? `${group}/${version}`;
  if (wanted !== `${group}/${version}`) {
    throw new EdgeError(
      'EDGE_ERR_CTL_RESOURCE',
      `couldn't find resource for "${wanted}, Resource=${resource.plural}"`,
    );
  }
  const document = await openApi(session, `apis/${group}/${version}`);
  const schema = schemaOf(document, resource);
  if (schema === undefined) {
    throw new EdgeError(
      'EDGE_ERR_CTL_OPENAPI',
      `GVK ${group}/${version}, Kind=${resource.kind} not found in OpenAPI schema`,
    );
  }
  const explainer = new Explainer(document);
  await session.print(kindText(resource));
  const found = explainer.find(schema, path);
  if (typeof found === 'string') throw new EdgeError('EDGE_ERR_CTL_FIELD', `field "${found}" does not exist`);
  await session.print(explainer.text(found, path.at(-1), flags.recursive ?? false));
}

/** The type, which may have dots itself, and the fields behind it. Throws UsageError for a path of other than names. */
function splitPath(what: string): { resource: ResourceRef | undefined; path: string[] } {
  const parts = what.split('.');
  if (parts.some((part) => part === '' || /[[\]*]/u.test(part)))
    throw new UsageError('invalid jsonpath syntax, first node must be field node');
  for (let length = parts.length; length > 0; length--) {
    const resource = resourceOf(parts.slice(0, length).join('.'));
    if (resource !== undefined) return { resource, path: parts.slice(length) };
  }
  return { resource: undefined, path: [] };
}

/** The document of a group and version, by the index of them. */
async function openApi({ client }: Session, name: string): Promise<OpenApi> {
  const index = await readDocument<{ paths?: Record<string, { serverRelativeURL?: string }> }>(
    client,
    '/openapi/v3',
  );
  const url = index.paths?.[name]?.serverRelativeURL;
  if (url?.startsWith('/') !== true)
    throw new EdgeError('EDGE_ERR_CTL_OPENAPI', `couldn't find resource for "${name.slice('apis/'.length)}"`);
  return readDocument<OpenApi>(client, url);
}
