/** Field selectors as kubectl's `--field-selector` has them, and both kinds of selectors together. */
import { matchesLabels } from './label-selector.ts';
import type { LabelSelector } from './label-selector.ts';
import type { ObjectMeta } from './meta.ts';
import { badRequest } from './status.ts';

/** One requirement of a field selector. */
export interface FieldRequirement {
  /** A path in dots: `metadata.name`. */
  field: string;
  isEqual: boolean;
  value: string;
}

/** A parsed field selector; empty matches everything. */
export type FieldSelector = readonly FieldRequirement[];

/** The field that every kind can be selected by. */
export const NAME_FIELD = 'metadata.name';

/** Terms of a field selector: a backslash takes the special meaning from a comma, an equals sign and a backslash. */
const FIELD_TERM = /(?:[^\\,]|\\.?)+/gu;
const FIELD_PARTS = /^((?:[^\\=!]|\\.?|!(?!=))*)(==|=|!=)(.*)$/u;

/** Parses a field selector over `metadata.name` and the kind's own `selectable` fields. Throws a 400 Status. */
export function parseFieldSelector(text: string, selectable: readonly string[] = []): FieldSelector {
  const requirements: FieldRequirement[] = [];
  for (const [term] of text.matchAll(FIELD_TERM)) {
    const match = FIELD_PARTS.exec(term);
    if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`);
    const [, left = '', operator, right = ''] = match;
    const field = left.trim();
    const value = unescaped(right.trim(), text);
    if (field === '' && value === '') continue;
    if (field !== NAME_FIELD && !selectable.includes(field))
      throw badRequest(`field label not supported: ${field}`);
    requirements.push({ field, isEqual: operator !== '!=', value });
  }
  return requirements;
}

function unescaped(value: string, selector: string): string {
  return value.replaceAll(/\\(.?)|[,=]/gu, (found, escaped?: string) => {
    if (escaped !== undefined && /^[\\,=]$/u.test(escaped)) return escaped;
    throw badRequest(
      escaped === undefined
        ? `invalid field selector: unescaped character in value: ${found}`
        : `invalid field selector: invalid escape sequence: ${found} in '${selector}'`,
    );
  });
}

/** Whether an object satisfies every requirement; an absent field is the empty text. */
export function matchesFields(selector: FieldSelector, object: unknown): boolean {
  return selector.every(({ field, isEqual, value }) => (fieldText(object, field) === value) === isEqual);
}

function fieldText(object: unknown, field: string): string {
  let value = object;
  for (const key of field.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return '';
    value = (value as Record<string, unknown>)[key];
  }
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : '';
}

/** A label selector and a field selector together. */
export interface Selectors {
  labels: LabelSelector;
  fields: FieldSelector;
}

/** Whether an object satisfies both selectors. */
export function matches(selectors: Selectors, object: { metadata: ObjectMeta }): boolean {
  return matchesFields(selectors.fields, object) && matchesLabels(selectors.labels, object.metadata.labels);
}
