/** What a value of a configuration file must look like, as data: reading it checks it and keeps its type. Pure. */
import { suggestion } from '../../lib/options.ts';
import { RouterConfigError } from '../errors.ts';

/** Where a value stands, for errors. */
export interface Place {
  source: string;
  /** Keys from the root, `transport.tls.force`; empty at the root. */
  path: string;
}

/** Reads one kind of value. Throws RouterConfigError that names source and path. */
export interface Shape<T> {
  read(value: unknown, place: Place): T;
}

/** The type that a shape gives. */
export type ValueOf<S> = S extends Shape<infer T> ? T : never;

function wrong(place: Place, problem: string): RouterConfigError {
  return new RouterConfigError(place.path === '' ? place.source : `${place.source}: ${place.path}`, problem);
}

function describe(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (value instanceof Date) return 'a date';
  return typeof value === 'object' ? 'a table' : JSON.stringify(value);
}

/** A text. */
export const text: Shape<string> = {
  read(value, place) {
    if (typeof value !== 'string') throw wrong(place, `wants a text, got ${describe(value)}`);
    return value;
  },
};

/** True or false. */
export const flag: Shape<boolean> = {
  read(value, place) {
    if (typeof value !== 'boolean') throw wrong(place, `wants true or false, got ${describe(value)}`);
    return value;
  },
};

/** A whole number within bounds, both included. */
export function whole(min: number, max: number): Shape<number> {
  return {
    read(value, place) {
      if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
        throw wrong(place, `wants a whole number from ${min} to ${max}, got ${describe(value)}`);
      return value;
    },
  };
}

/** One of a few words. */
export function word<const T extends string>(...words: readonly T[]): Shape<T> {
  return {
    read(value, place) {
      const found = words.find((known) => known === value);
      if (found === undefined) throw wrong(place, `wants one of ${words.join(', ')}, got ${describe(value)}`);
      return found;
    },
  };
}

/** A list of equal things. */
export function list<T>(shape: Shape<T>): Shape<T[]> {
  return {
    read(value, place) {
      if (!Array.isArray(value)) throw wrong(place, `wants a list, got ${describe(value)}`);
      return value.map((entry, index) => shape.read(entry, { ...place, path: `${place.path}[${index}]` }));
    },
  };
}

/** A table with these keys, all of which may be absent; null counts as absent. Keys match in any case (frp protocol 8.1). */
export function table<const Keys extends Readonly<Record<string, Shape<unknown>>>>(
  keys: Keys,
): Shape<{ -readonly [Key in keyof Keys]?: ValueOf<Keys[Key]> }> {
  const byLowerCase = new Map(Object.keys(keys).map((key) => [key.toLowerCase(), key]));
  return {
    read(value, place) {
      if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Date)
        throw wrong(place, `wants a table, got ${describe(value)}`);
      const out: Record<string, unknown> = {};
      for (const [given, entry] of Object.entries(value)) {
        const path = place.path === '' ? given : `${place.path}.${given}`;
        const key = byLowerCase.get(given.toLowerCase());
        const shape = key === undefined ? undefined : keys[key];
        if (key === undefined || shape === undefined)
          throw wrong({ ...place, path }, `unknown key${suggestion(given, Object.keys(keys))}`);
        if (Object.hasOwn(out, key)) throw wrong({ ...place, path }, `is given twice, in different case`);
        if (entry !== null) out[key] = shape.read(entry, { ...place, path });
      }
      return out as { -readonly [Key in keyof Keys]?: ValueOf<Keys[Key]> };
    },
  };
}

/** Something that frps can do and this program cannot: accepted only with a value that asks for nothing. */
export function unsupported(
  what: string,
  ...harmless: readonly (string | number | boolean)[]
): Shape<undefined> {
  return {
    read(value, place) {
      const isNothing = Array.isArray(value) ? value.length === 0 : harmless.some((known) => known === value);
      if (!isNothing) throw wrong(place, `${what}; remove the key${shown(harmless)}`);
      return undefined;
    },
  };
}

function shown(harmless: readonly (string | number | boolean)[]): string {
  return harmless.length === 0
    ? ''
    : ` or set it to ${harmless.map((value) => JSON.stringify(value)).join(' or ')}`;
}
