/** What the user means by `routers`, `rt`, `nm/x`, `all`: resource types and names, resolved as kubectl does. */
import { NODE_MAINTENANCES, ROUTERS } from '../../api/edge.ts';
import type { ResourceRef } from '../../api/meta.ts';
import { EdgeError, UsageError } from '../../lib/errors.ts';

/** One thing to act on: an object, or all objects of a type. */
export interface Target {
  resource: ResourceRef;
  name: string | undefined;
}

const RESOURCES: readonly { resource: ResourceRef; words: readonly string[] }[] = [
  { resource: NODE_MAINTENANCES, words: ['nodemaintenances', 'nodemaintenance', 'nm'] },
  { resource: ROUTERS, words: ['routers', 'router', 'rt'] },
];
/** Words that stand for every type (CRD categories). */
const CATEGORIES = new Set(['all', 'edge']);

/** The type that a word names; undefined when there is none. */
export function resourceOf(word: string): ResourceRef | undefined {
  const lower = word.toLowerCase();
  return RESOURCES.find(
    ({ resource, words }) =>
      words.includes(lower) ||
      [`.${resource.group}`, `.${resource.version}.${resource.group}`].some(
        (suffix) => lower.endsWith(suffix) && words.includes(lower.slice(0, -suffix.length)),
      ),
  )?.resource;
}

/** The types a word stands for. Throws EDGE_ERR_CTL_RESOURCE. */
export function resourcesOf(word: string): readonly ResourceRef[] {
  if (CATEGORIES.has(word.toLowerCase())) return RESOURCES.map(({ resource }) => resource);
  const found = resourceOf(word);
  if (found !== undefined) return [found];
  throw new EdgeError('EDGE_ERR_CTL_RESOURCE', `the server doesn't have a resource type "${word}"`, {
    hint: 'the types are routers (rt) and nodemaintenances (nm)',
  });
}

/** The type of a manifest; undefined for one this API does not have. */
export function resourceOfKind(apiVersion: string, kind: string): ResourceRef | undefined {
  return RESOURCES.find(
    ({ resource }) => resource.kind === kind && apiVersion === `${resource.group}/${resource.version}`,
  )?.resource;
}

/** Reads `TYPE[,TYPE] [NAME…]` or `TYPE/NAME…`. Throws UsageError, EDGE_ERR_CTL_RESOURCE. */
export function parseTargets(args: readonly string[]): Target[] {
  const [first, ...rest] = args;
  if (first === undefined) {
    throw new UsageError('you must specify the type of resource, such as routers', {
      hint: 'the types are routers (rt) and nodemaintenances (nm)',
    });
  }
  if (args.some((arg) => arg.includes('/'))) {
    return args.map((arg) => {
      const [type = '', name = '', ...more] = arg.split('/');
      if (type === '' || name === '' || more.length > 0) {
        throw new UsageError(
          `there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'get router/NAME' instead of 'get router NAME')`,
        );
      }
      const [resource] = resourcesOf(type);
      return { resource: resource ?? ROUTERS, name };
    });
  }
  const resources = [...new Set(first.split(',').flatMap(resourcesOf))];
  if (rest.length === 0) return resources.map((resource) => ({ resource, name: undefined }));
  return resources.flatMap((resource) => rest.map((name) => ({ resource, name })));
}

/** `router.edge.example.com`, as results are reported. */
export function singularName(resource: ResourceRef): string {
  return `${resource.kind.toLowerCase()}.${resource.group}`;
}
