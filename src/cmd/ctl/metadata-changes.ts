/** Changes of labels and annotations as a command line asks for them (`KEY=VALUE`, `KEY-`), by kubectl's rules. Pure. */
import { labelValueProblems } from '../../api/names.ts';
import { UsageError } from '../../lib/errors.ts';

/** Labels or annotations. */
export type Noun = 'label' | 'annotation';

/** Keys and values, in the order in which they were given. */
export type Pairs = Readonly<Record<string, string>>;

/** What to do with the keys of a map. */
export interface MetadataChanges {
  set: Pairs;
  remove: readonly string[];
}

function isPair(arg: string): boolean {
  return arg.indexOf('=') > 0 || (arg.length > 1 && arg.endsWith('-') && !arg.startsWith('='));
}

/** Takes the objects, which come first, apart from the changes. Throws UsageError. */
export function splitArgs(args: readonly string[], noun: Noun): { what: string[]; pairs: string[] } {
  const first = args.findIndex(isPair);
  if (first === -1) return { what: [...args], pairs: [] };
  const late = args.slice(first).find((arg) => !isPair(arg));
  if (late !== undefined)
    throw new UsageError(`all resources must be specified before ${noun} changes: ${late}`);
  return { what: args.slice(0, first), pairs: args.slice(first) };
}

/** Reads the changes. Throws UsageError for a key that is both set and removed, and for values that labels cannot have. */
export function parseChanges(pairs: readonly string[], noun: Noun): MetadataChanges {
  const set = new Map<string, string>();
  const remove = new Set<string>();
  for (const pair of pairs) {
    const at = pair.indexOf('=');
    if (at === -1) remove.add(pair.slice(0, -1));
    else {
      const value = pair.slice(at + 1);
      if (noun === 'label') checkLabelValue(pair, value);
      set.set(pair.slice(0, at), value);
    }
  }
  const both = [...remove].filter((key) => set.has(key));
  if (both.length > 0) {
    throw new UsageError(
      noun === 'label'
        ? 'can not both modify and remove a label in the same command'
        : `can not both modify and remove the following annotation(s) in the same command: ${both.join(', ')}`,
    );
  }
  return { set: Object.fromEntries(set), remove: [...remove] };
}

function checkLabelValue(pair: string, value: string): void {
  if (value.includes('=')) throw new UsageError(`invalid label spec: ${pair}`);
  const problems = labelValueProblems(value);
  if (problems.length > 0) throw new UsageError(`invalid label value: "${pair}": ${problems.join('; ')}`);
}

/** Which of the keys to set have another value now, in words; none when it may be done without --overwrite. */
export function overwriteProblems(noun: Noun, current: Pairs, { set }: MetadataChanges): string[] {
  const taken = Object.keys(set)
    .filter((key) => Object.hasOwn(current, key) && current[key] !== set[key])
    .map((key) => `'${key}' already has a value (${current[key] ?? ''})`);
  if (noun === 'label') return taken.map((text) => `${text}, and --overwrite is false`);
  if (taken.length === 0) return [];
  return [`--overwrite is false but found the following declared annotation(s): ${taken.join('; ')}`];
}

/** The map with the changes made. */
export function changed(current: Pairs, { set, remove }: MetadataChanges): Record<string, string> {
  const kept = Object.entries(current).filter(([key]) => !remove.includes(key));
  return { ...Object.fromEntries(kept), ...set };
}

/** The merge patch (RFC 7386) of the map that makes the changes, with nothing in it that is so already. */
export function mapPatch(current: Pairs, { set, remove }: MetadataChanges): Record<string, string | null> {
  return Object.fromEntries([
    ...Object.entries(set).filter(([key, value]) => current[key] !== value),
    ...remove.filter((key) => Object.hasOwn(current, key)).map((key) => [key, null] as const),
  ]);
}

/**
 * The word for what was done to labels. Scripts read it, so it is kubectl's, which goes by the length of the object:
 * shorter than before is `unlabeled`.
 */
export function labelOutcome(before: Pairs, after: Pairs, isOverwriting: boolean): string {
  const length = (labels: Pairs): number => JSON.stringify(labels).length;
  const isSame =
    Object.keys(before).length === Object.keys(after).length &&
    Object.entries(after).every(([key, value]) => before[key] === value);
  if (isSame) return 'not labeled';
  return !isOverwriting && length(after) < length(before) ? 'unlabeled' : 'labeled';
}
