/** Conflicts of an apply: fields that would change and belong to others, in the words that clients print. */
import { statusError } from '../../api/status.ts';
import type { StatusCause, StatusError } from '../../api/status.ts';
import type { FieldSet } from './field-set.ts';
import type { Owner } from './owners.ts';
import { formatPath } from './path-element.ts';

/** The fields of one owner that an apply would change. */
export interface Conflict {
  owner: Owner;
  fields: FieldSet;
}

function named(owner: Owner): string {
  const subresource =
    owner.subresource === '' ? '' : ` with subresource ${JSON.stringify(owner.subresource)}`;
  const version = owner.operation === 'Update' ? ` using ${owner.apiVersion}` : '';
  return `${JSON.stringify(owner.manager)}${subresource}${version}`;
}

/** The 409 that names every field with its owner. */
export function applyConflict(conflicts: readonly Conflict[]): StatusError {
  const sorted = conflicts
    .map(({ owner, fields }) => ({ who: named(owner), paths: [...fields.paths()].map(formatPath) }))
    .sort((a, b) => (a.who < b.who ? -1 : 1));
  const causes: StatusCause[] = sorted.flatMap(({ who, paths }) =>
    paths.map((field) => ({ reason: 'FieldManagerConflict', message: `conflict with ${who}`, field })),
  );
  const [only] = causes;
  const message =
    causes.length === 1 && only !== undefined
      ? `Apply failed with 1 conflict: ${only.message}: ${only.field ?? ''}`
      : `Apply failed with ${causes.length} conflicts: ${sorted
          .map(({ who, paths }) => [`conflicts with ${who}:`, ...paths.map((path) => `- ${path}`)].join('\n'))
          .join('\n')}`;
  return statusError('Conflict', message, { causes });
}
