/** `edge ctl api-resources`: the types that the server has, from its discovery. */
import { isNotFound } from '../../apiclient/errors.ts';
import { UsageError } from '../../lib/errors.ts';
import { readDocument } from './document.ts';
import { ColumnWriter } from './printers/columns.ts';
import { createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

interface ResourcesFlags {
  apiGroup?: string;
  categories?: string;
  headers: boolean;
  namespaced?: string;
  output?: string;
  sortBy?: string;
  verbs?: string;
}

/** What discovery says of a type (meta/v1 APIResource), with the group and version it stands in. */
interface Resource {
  groupVersion: string;
  name: string;
  kind: string;
  namespaced: boolean;
  shortNames?: string[];
  verbs?: string[];
  categories?: string[];
}

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('api-resources', 'Print the types that the server has.')
    .argument('[UNWANTED...]')
    .option('--api-group <GROUP>', 'only types of this group')
    .option('--categories <WORDS>', 'only types that are in all of these categories')
    .option('--namespaced <BOOL>', 'only types with a namespace, or only those without')
    .option('--verbs <VERBS>', 'only types that know all of these')
    .option('--no-headers', 'leave the header line out')
    .option('-o, --output <FORMAT>', 'wide or name')
    .option('--sort-by <KEY>', 'name or kind');
  await runVerb(command, argv, async (session, args) => {
    const flags = command.opts<ResourcesFlags>();
    if (flags.output !== undefined && flags.output !== 'wide' && flags.output !== 'name')
      throw new UsageError(`--output ${flags.output} is not available`);
    if (flags.sortBy !== undefined && flags.sortBy !== 'name' && flags.sortBy !== 'kind')
      throw new UsageError('--sort-by accepts only name or kind');
    if (args.length > 0) {
      throw new UsageError(`unexpected arguments: [${args.join(' ')}]`, {
        hint: 'run "edge ctl api-resources --help" for usage',
      });
    }
    await session.print(format(chosen(await discover(session), flags), flags));
  });
}

async function discover({ client }: Session): Promise<Resource[]> {
  // a server may have no core group
  const core = await readDocument<{ versions?: string[] }>(client, '/api').catch((err: unknown) => {
    if (isNotFound(err)) return { versions: [] };
    throw err;
  });
  const { groups = [] } = await readDocument<{ groups?: { preferredVersion: { groupVersion: string } }[] }>(
    client,
    '/apis',
  );
  const places = [
    ...(core.versions ?? []).slice(0, 1).map((version) => ({ path: '/api', groupVersion: version })),
    ...groups.map(({ preferredVersion }) => ({ path: '/apis', ...preferredVersion })),
  ];
  const lists = places.map(async ({ path, groupVersion }) => {
    const { resources = [] } = await readDocument<{ resources?: Resource[] }>(
      client,
      `${path}/${groupVersion}`,
    );
    return resources.map((each) => ({ ...each, groupVersion }));
  });
  // subresources have a slash
  return (await Promise.all(lists)).flat().filter(({ name }) => !name.includes('/'));
}

function chosen(resources: readonly Resource[], flags: ResourcesFlags): Resource[] {
  const hasAll = (wanted: string | undefined, have: readonly string[] = []): boolean =>
    wanted === undefined || wanted.split(',').every((word) => have.includes(word));
  const key = (resource: Resource): string =>
    flags.sortBy === undefined
      ? `${groupOf(resource)} ${resource.name}`
      : flags.sortBy === 'kind'
        ? resource.kind
        : resource.name;
  return resources
    .filter(
      (resource) =>
        (flags.apiGroup === undefined || flags.apiGroup === groupOf(resource)) &&
        (flags.namespaced === undefined || flags.namespaced === String(resource.namespaced)) &&
        hasAll(flags.verbs, resource.verbs) &&
        hasAll(flags.categories, resource.categories),
    )
    .sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

function groupOf({ groupVersion }: Resource): string {
  return groupVersion.includes('/') ? (groupVersion.split('/', 1)[0] ?? '') : '';
}

function format(resources: readonly Resource[], flags: ResourcesFlags): string {
  if (flags.output === 'name')
    return resources.map((each) => `${[each.name, groupOf(each)].filter(Boolean).join('.')}\n`).join('');
  const wide = (cells: string[]): string[] => (flags.output === 'wide' ? cells : []);
  const header = ['NAME', 'SHORTNAMES', 'APIVERSION', 'NAMESPACED', 'KIND', ...wide(['VERBS', 'CATEGORIES'])];
  const rows = resources.map((each) => [
    each.name,
    (each.shortNames ?? []).join(','),
    each.groupVersion,
    String(each.namespaced),
    each.kind,
    ...wide([(each.verbs ?? []).join(','), (each.categories ?? []).join(',')]),
  ]);
  return new ColumnWriter().format(flags.headers ? [header, ...rows] : rows);
}
