/** Label and field selectors: parsed once, matched often; syntax as kubectl's `-l` and `--field-selector`. */
import type { ObjectMeta } from './meta.ts';
import { badRequest } from './status.ts';

/** One requirement of a label selector. */
export interface LabelRequirement {
  key: string;
  operator: 'in' | 'notin' | 'exists' | 'absent';
  values: readonly string[];
}

/** A parsed label selector; empty matches everything. */
export type LabelSelector = readonly LabelRequirement[];

const KEY = /^(?:[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/u;
const VALUE = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/u;

/** Whether a text is a qualified name: an optional DNS prefix and a name of up to 63 characters. */
export function isQualifiedName(text: string): boolean {
  return text.length <= 317 && KEY.test(text);
}

/** Whether a text may be the value of a label. */
export function isLabelValue(text: string): boolean {
  return VALUE.test(text);
}

/** Splits at commas outside parentheses. */
function splitTerms(text: string): string[] {
  const terms: string[] = [];
  let depth = 0;
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '(') depth++;
    else if (text[at] === ')') depth--;
    else if (text[at] === ',' && depth === 0) {
      terms.push(text.slice(start, at));
      start = at + 1;
    }
  }
  terms.push(text.slice(start));
  return terms;
}

function parseTerm(term: string, fail: (why: string) => Error): LabelRequirement {
  const text = term.trim();
  const set = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/u.exec(text);
  if (set !== null) {
    const values = (set[3] ?? '').split(',').map((value) => value.trim());
    return { key: set[1] ?? '', operator: set[2] === 'in' ? 'in' : 'notin', values };
  }
  const equality = /^([^!=\s]+)\s*(==|=|!=)\s*(\S*)$/u.exec(text);
  if (equality !== null) {
    return {
      key: equality[1] ?? '',
      operator: equality[2] === '!=' ? 'notin' : 'in',
      values: [equality[3] ?? ''],
    };
  }
  const existence = /^(!?)\s*([^!=\s()]+)$/u.exec(text);
  if (existence !== null) {
    return { key: existence[2] ?? '', operator: existence[1] === '!' ? 'absent' : 'exists', values: [] };
  }
  throw fail(`found '${text}', expected KEY, !KEY, KEY=VALUE, KEY!=VALUE, KEY in (…) or KEY notin (…)`);
}

/** Parses a label selector; throws a 400 Status. An empty text selects everything. */
export function parseLabelSelector(text: string): LabelSelector {
  if (text.trim() === '') return [];
  const fail = (why: string): Error => badRequest(`unable to parse requirement: ${why}`);
  return splitTerms(text).map((term) => {
    const requirement = parseTerm(term, fail);
    if (!isQualifiedName(requirement.key)) throw fail(`"${requirement.key}" is not a valid label key`);
    const wrong = requirement.values.find((value) => !isLabelValue(value));
    if (wrong !== undefined) throw fail(`"${wrong}" is not a valid label value`);
    return requirement;
  });
}

/** Whether labels satisfy every requirement. `!=` and `notin` match an absent label too. */
export function matchesLabels(
  selector: LabelSelector,
  labels: Readonly<Record<string, string>> | undefined,
): boolean {
  return selector.every((requirement) => {
    const value =
      labels !== undefined && Object.hasOwn(labels, requirement.key) ? labels[requirement.key] : undefined;
    switch (requirement.operator) {
      case 'in':
        return value !== undefined && requirement.values.includes(value);
      case 'notin':
        return value === undefined || !requirement.values.includes(value);
      case 'exists':
        return value !== undefined;
      default:
        return value === undefined;
    }
  });
}

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

/** Parses a field selector over `metadata.name` and the kind's own `selectable` fields. Throws a 400 Status. */
export function parseFieldSelector(text: string, selectable: readonly string[] = []): FieldSelector {
  if (text.trim() === '') return [];
  return text.split(',').map((term) => {
    const match = /^\s*([^!=\s]+?)\s*(==|=|!=)\s*(.*?)\s*$/u.exec(term);
    if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`);
    const field = match[1] ?? '';
    if (field !== NAME_FIELD && !selectable.includes(field))
      throw badRequest(`field label not supported: ${field}`);
    return { field, isEqual: match[2] !== '!=', value: match[3] ?? '' };
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
