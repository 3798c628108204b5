/** Settings from flags, environment, file and defaults, in that order; every mistake names its source. */
import { UsageError } from './errors.ts';

/** One setting. The table key is its name in files (camelCase); the flag is the same in kebab-case. */
export interface Option<T> {
  description: string;
  /** Variables that set it, most specific first. */
  env: readonly string[];
  /** What stands for the value in help; undefined for a switch. */
  placeholder: string | undefined;
  isRepeatable: boolean;
  /** Whether there is a flag at all. */
  hasFlag: boolean;
  default: T;
  /** How help shows the default; undefined leaves it out. */
  defaultText: string | undefined;
  /** Reads texts (flag or variable); `what` names the source in errors. */
  parse(texts: readonly string[], what: string): T;
  /** Reads a value of a configuration file. */
  parseValue(value: unknown, what: string): T;
}

/** A component's settings. */
export type OptionTable = Readonly<Record<string, Option<unknown>>>;
/** The values of a table. */
export type OptionValues<Table extends OptionTable> = {
  -readonly [Key in keyof Table]: Table[Key] extends Option<infer T> ? T : never;
};

interface Common {
  description: string;
  env?: string | readonly string[];
  placeholder?: string;
  defaultText?: string;
  hasFlag?: boolean;
}

function option<T>(
  common: Common,
  fallback: T,
  parse: Option<T>['parse'],
  parseValue: Option<T>['parseValue'],
  extra: { isRepeatable?: boolean; isSwitch?: boolean; placeholder?: string } = {},
): Option<T> {
  return {
    description: common.description,
    env: common.env === undefined ? [] : typeof common.env === 'string' ? [common.env] : common.env,
    placeholder: extra.isSwitch === true ? undefined : (common.placeholder ?? extra.placeholder ?? 'VALUE'),
    isRepeatable: extra.isRepeatable ?? false,
    hasFlag: common.hasFlag ?? true,
    default: fallback,
    defaultText: common.defaultText,
    parse,
    parseValue,
  };
}

function last(texts: readonly string[]): string {
  return texts.at(-1) ?? '';
}

function textOf(value: unknown, what: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new UsageError(`${what}: wanted a text, got ${describe(value)}`);
}

function describe(value: unknown): string {
  if (value === null) return 'nothing';
  return Array.isArray(value) ? 'a list' : typeof value === 'object' ? 'a map' : JSON.stringify(value);
}

/** A text; undefined when not set. `check` may throw UsageError or return the text in its final form. */
export function stringOption(
  common: Common & { check?: (text: string, what: string) => string },
): Option<string | undefined> {
  const check = common.check ?? ((text: string) => text);
  return option<string | undefined>(
    common,
    undefined,
    (texts, what) => check(last(texts), what),
    (value, what) => check(textOf(value, what), what),
  );
}

/** A text with a default. */
export function textOption(common: Common & { default: string }): Option<string> {
  return option<string>(
    { defaultText: common.default, ...common },
    common.default,
    (texts) => last(texts),
    (value, what) => textOf(value, what),
  );
}

/** A list of texts: a repeatable flag, or separated by commas. */
export function listOption(common: Common & { default?: readonly string[] }): Option<readonly string[]> {
  const split = (text: string) =>
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');
  return option<readonly string[]>(
    common,
    common.default ?? [],
    (texts) => texts.flatMap(split),
    (value, what) =>
      Array.isArray(value)
        ? value.map((entry, at) => textOf(entry, `${what}[${at}]`))
        : split(textOf(value, what)),
    { isRepeatable: true },
  );
}

/** One of a few words. */
export function choiceOption<T extends string>(
  common: Common & { choices: readonly T[]; default: T },
): Option<T> {
  const pick = (text: string, what: string): T => {
    const found = common.choices.find((choice) => choice === text);
    if (found === undefined)
      throw new UsageError(`${what}: "${text}" is not one of ${common.choices.join(', ')}`);
    return found;
  };
  return option<T>(
    { defaultText: common.default, ...common },
    common.default,
    (texts, what) => pick(last(texts), what),
    (value, what) => pick(textOf(value, what), what),
    { placeholder: common.choices.join('|') },
  );
}

const TRUE_WORDS = new Set(['true', '1', 'yes', 'on', '']);
const FALSE_WORDS = new Set(['false', '0', 'no', 'off']);

/** A switch, off unless set; a variable takes true and false. */
export function switchOption(common: Common & { default?: boolean }): Option<boolean> {
  const read = (text: string, what: string): boolean => {
    const word = text.toLowerCase();
    if (TRUE_WORDS.has(word)) return true;
    if (FALSE_WORDS.has(word)) return false;
    throw new UsageError(`${what}: "${text}" is neither true nor false`);
  };
  return option<boolean>(
    common,
    common.default ?? false,
    (texts, what) => read(last(texts), what),
    (value, what) => (typeof value === 'boolean' ? value : read(textOf(value, what), what)),
    { isSwitch: true },
  );
}

/** A whole number within bounds. */
export function integerOption(
  common: Common & { default: number; min: number; max: number },
): Option<number> {
  const read = (text: string, what: string): number => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isInteger(value) || value < common.min || value > common.max) {
      throw new UsageError(`${what}: "${text}" is not a whole number from ${common.min} to ${common.max}`);
    }
    return value;
  };
  return option<number>(
    { defaultText: String(common.default), ...common },
    common.default,
    (texts, what) => read(last(texts), what),
    (value, what) => read(textOf(value, what), what),
    { placeholder: 'N' },
  );
}

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of `10s`, `500ms`, `1m30s`; a bare number is seconds. Throws UsageError that names `what`. */
export function parseDuration(text: string, what: string): number {
  const trimmed = text.trim();
  if (/^\d+(?:\.\d+)?$/u.test(trimmed)) return Number(trimmed) * 1000;
  if (!/^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/u.test(trimmed)) {
    throw new UsageError(`${what}: "${text}" is not a duration such as 10s, 500ms or 1m30s`);
  }
  let totalMs = 0;
  for (const [, amount, unit] of trimmed.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/gu)) {
    totalMs += Number(amount) * (UNIT_MS[unit ?? ''] ?? 0);
  }
  return totalMs;
}

/** A span of time; the value is milliseconds. */
export function durationOption(common: Common & { default: string }): Option<number> {
  return option<number>(
    { defaultText: common.default, ...common },
    parseDuration(common.default, 'default'),
    (texts, what) => parseDuration(last(texts), what),
    (value, what) => parseDuration(textOf(value, what), what),
    { placeholder: 'DURATION' },
  );
}

/** The flag of a table key: `dnsAddr` is `--dns-addr`. */
export function flagName(key: string): string {
  return key.replaceAll(/[A-Z]/gu, (letter) => `-${letter.toLowerCase()}`);
}

/** Where values come from. */
export interface OptionSources {
  /** Texts given by flag, by table key. */
  flags: Readonly<Record<string, readonly string[] | undefined>>;
  env: Readonly<Record<string, string | undefined>>;
  /** The parsed configuration file and its name. */
  file?: { name: string; values: unknown } | undefined;
  /** Keys of the file that are read elsewhere. */
  otherFileKeys?: readonly string[];
}

/** Resolves every setting of a table. Throws UsageError that names the flag, variable or key at fault. */
export function resolveOptions<Table extends OptionTable>(
  table: Table,
  sources: OptionSources,
): OptionValues<Table> {
  const file = fileValues(table, sources);
  const out: Record<string, unknown> = {};
  for (const [key, spec] of Object.entries(table)) {
    const flag = sources.flags[key];
    const variable = spec.env.find((name) => isSet(sources.env[name]));
    if (flag !== undefined) out[key] = spec.parse(flag, `--${flagName(key)}`);
    else if (variable !== undefined) out[key] = spec.parse([sources.env[variable] ?? ''], variable);
    else if (file !== undefined && file.values[key] !== undefined) {
      out[key] = spec.parseValue(file.values[key], `${file.name}: ${key}`);
    } else out[key] = spec.default;
  }
  return out as OptionValues<Table>;
}

/** An empty variable counts as not set, as in shell scripts that pass variables on. */
function isSet(value: string | undefined): boolean {
  return value !== undefined && value !== '';
}

function fileValues(
  table: OptionTable,
  sources: OptionSources,
): { name: string; values: Record<string, unknown> } | undefined {
  const { file } = sources;
  if (file === undefined || file.values === undefined) return undefined;
  if (typeof file.values !== 'object' || file.values === null || Array.isArray(file.values)) {
    throw new UsageError(`${file.name}: wanted a map of settings, got ${describe(file.values)}`);
  }
  const values = file.values as Record<string, unknown>;
  const known = new Set([...Object.keys(table), ...(sources.otherFileKeys ?? [])]);
  for (const key of Object.keys(values)) {
    if (!known.has(key))
      throw new UsageError(`${file.name}: unknown setting "${key}"${suggestion(key, known)}`);
  }
  return { name: file.name, values };
}

/** `; did you mean "x"?` when a known word is close, else nothing. */
export function suggestion(word: string, known: Iterable<string>): string {
  let best: string | undefined;
  let bestDistance = 3;
  for (const candidate of known) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best === undefined ? '' : `; did you mean "${best}"?`;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
