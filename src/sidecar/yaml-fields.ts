/** Reads fields of the maps that configuration files hold; every mistake is a UsageError that names the entry. */
import { UsageError } from '../lib/errors.ts';
import { parseDuration } from '../lib/options.ts';

/** A map of a configuration file. */
export type Fields = Readonly<Record<string, unknown>>;

/** Throws UsageError unless `value` is a map, and has no keys but `known` ones where they are given. */
export function fields(value: unknown, what: string, known?: ReadonlySet<string>): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(`${what}: wanted a map`);
  const unknown = known === undefined ? undefined : Object.keys(value).find((key) => !known.has(key));
  if (unknown !== undefined) throw new UsageError(`${what}: unknown setting "${unknown}"`);
  return value as Fields;
}

/** A list; empty when there is none. */
export function list(value: unknown, what: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new UsageError(`${what}: wanted a list`);
  return value;
}

/** A text; undefined when there is none, or an empty one. */
export function optionalText(value: unknown, role: string, what: string): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value !== 'string') throw new UsageError(`${what}: ${role} is not a text`);
  return value;
}

/** A switch; undefined when it is not set. */
export function optionalSwitch(value: unknown, role: string, what: string): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value;
  throw new UsageError(`${what}: ${role} is neither true nor false`);
}

/** A span of time in milliseconds, written `500ms` or as a number of seconds; undefined when it is not set. */
export function optionalDuration(value: unknown, role: string, what: string): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' && typeof value !== 'number')
    throw new UsageError(`${what}: ${role} is not a duration such as 500ms`);
  return parseDuration(String(value), `${what}: ${role}`);
}

/** A whole number within bounds; undefined when it is not set. */
export function optionalInteger(
  value: unknown,
  role: string,
  what: string,
  { min, max }: { min: number; max: number },
): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
    throw new UsageError(`${what}: ${role} is not a whole number from ${min} to ${max}`);
  return value;
}

/** One of a few words; undefined when it is not set. */
export function optionalChoice<T extends string>(
  value: unknown,
  role: string,
  what: string,
  choices: readonly T[],
): T | undefined {
  if (value === undefined) return undefined;
  const found = choices.find((choice) => choice === value);
  if (found === undefined)
    throw new UsageError(`${what}: ${role} ${JSON.stringify(value)} is not one of ${choices.join(', ')}`);
  return found;
}
