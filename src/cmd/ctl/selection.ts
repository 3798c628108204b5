/** The objects that a verb acts on when it takes names, selectors or --all: the same rules for every such verb. */
import type { KubeObject } from '../../api/meta.ts';
import { UsageError } from '../../lib/errors.ts';
import { parseTargets } from './resources.ts';
import type { Target } from './resources.ts';
import type { Session } from './verb.ts';

/** The flags that select objects. */
export interface SelectionFlags {
  selector?: string;
  fieldSelector?: string;
  all?: boolean;
}

/** An object to act on, with its state where a list brought it along. */
export interface SelectedTarget extends Target {
  object?: KubeObject;
}

/** The named objects, or those that the server lists for the flags. Throws UsageError when nothing says which. */
export async function selectTargets(
  session: Session,
  args: readonly string[],
  flags: SelectionFlags,
): Promise<SelectedTarget[]> {
  const named = parseTargets(args);
  if (named.every(({ name }) => name !== undefined)) return named;
  if (flags.all !== true && flags.selector === undefined && flags.fieldSelector === undefined) {
    throw new UsageError('resource(s) were provided, but no name was specified', {
      hint: 'give names, -l QUERY or --all',
    });
  }
  const found: SelectedTarget[] = [];
  for (const { resource } of named) {
    const list = await session.client.list(resource, {
      labelSelector: flags.selector,
      fieldSelector: flags.fieldSelector,
    });
    for (const item of list.items) found.push({ resource, name: item.metadata.name, object: item });
  }
  return found;
}

/** The state of an object: as it was found, else as the server has it. */
export async function fetchSelected(
  session: Session,
  { resource, name = '', object }: SelectedTarget,
): Promise<KubeObject> {
  return object ?? session.client.get(resource, name);
}
