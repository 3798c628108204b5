/** JSONPath as Kubernetes uses it (printer columns, `-o jsonpath`): one path, compiled once, never throws on data. */
import { EdgeError } from '../lib/errors.ts';

type Step = (value: unknown, out: unknown[]) => void;

/** A compiled path: all values it selects, in document order. */
export type JsonPath = (root: unknown) => unknown[];

const MAX_STEPS = 64;

function fail(path: string, why: string): EdgeError {
  return new EdgeError('EDGE_ERR_JSONPATH_SYNTAX', `path ${JSON.stringify(path)}: ${why}`);
}

function child(name: string): Step {
  return (value, out) => {
    if (typeof value === 'object' && value !== null && Object.hasOwn(value, name)) {
      out.push((value as Record<string, unknown>)[name]);
    }
  };
}

const everyChild: Step = (value, out) => {
  if (typeof value === 'object' && value !== null)
    out.push(...(Array.isArray(value) ? value : Object.values(value)));
};

/** `..`: the value and all its descendants. */
const descend: Step = (value, out) => {
  out.push(value);
  if (typeof value !== 'object' || value === null) return;
  for (const entry of Object.values(value)) descend(entry, out);
};

function slice(startText: string, endText: string, stepText: string): Step {
  return (value, out) => {
    if (!Array.isArray(value)) return;
    const at = (text: string, fallback: number) => {
      const index = text === '' ? fallback : Number(text);
      return Math.max(0, Math.min(index < 0 ? index + value.length : index, value.length));
    };
    const step = Math.max(1, Number(stepText === '' ? 1 : stepText));
    for (let i = at(startText, 0); i < at(endText, value.length); i += step) out.push(value[i]);
  };
}

function index(position: number): Step {
  return (value, out) => {
    if (!Array.isArray(value)) return;
    const at = position < 0 ? position + value.length : position;
    if (at >= 0 && at < value.length) out.push(value[at]);
  };
}

type Operand = (item: unknown) => unknown;

function operand(text: string, path: string): Operand {
  const trimmed = text.trim();
  if (trimmed.startsWith('@')) {
    const inner = compileJsonPath(trimmed.slice(1));
    return (item) => inner(item)[0];
  }
  const quoted = /^(["'])(.*)\1$/su.exec(trimmed);
  if (quoted !== null) {
    const literal = (quoted[2] ?? '').replaceAll(/\\(.)/gu, '$1');
    return () => literal;
  }
  if (trimmed === 'true' || trimmed === 'false') return () => trimmed === 'true';
  const number = Number(trimmed);
  if (trimmed === '' || Number.isNaN(number)) throw fail(path, `cannot read "${trimmed}" in a filter`);
  return () => number;
}

function compare(operator: string, left: unknown, right: unknown): boolean {
  if (operator === '==') return left === right;
  if (operator === '!=') return left !== right;
  const isComparable =
    (typeof left === 'number' && typeof right === 'number') ||
    (typeof left === 'string' && typeof right === 'string');
  if (!isComparable) return false;
  if (operator === '<') return left < right;
  if (operator === '<=') return left <= right;
  return operator === '>' ? left > right : left >= right;
}

/** `[?(@.type=="Ready")]`; without an operator the path only has to exist. */
function filter(text: string, path: string): Step {
  const match = /^(.*?)\s*(==|!=|<=|>=|<|>)\s*(.*)$/su.exec(text);
  const left = operand(match?.[1] ?? text, path);
  const right = match === null ? undefined : operand(match[3] ?? '', path);
  const operator = match?.[2] ?? '';
  return (value, out) => {
    if (!Array.isArray(value)) return;
    for (const item of value) {
      if (right === undefined ? left(item) !== undefined : compare(operator, left(item), right(item)))
        out.push(item);
    }
  };
}

function bracket(inside: string, path: string): Step {
  const text = inside.trim();
  if (text === '*') return everyChild;
  const condition = /^\?\((.*)\)$/su.exec(text);
  if (condition !== null) return filter(condition[1] ?? '', path);
  const quoted = /^(["'])((?:\\.|(?!\1).)*)\1$/su.exec(text);
  if (quoted !== null) return child((quoted[2] ?? '').replaceAll(/\\(.)/gu, '$1'));
  if (/^-?\d+$/u.test(text)) return index(Number(text));
  const range = /^(-?\d*):(-?\d*)(?::(\d*))?$/u.exec(text);
  if (range !== null) return slice(range[1] ?? '', range[2] ?? '', range[3] ?? '');
  if (text.includes(',')) {
    const steps = text.split(',').map((part) => bracket(part, path));
    return (value, out) => steps.forEach((step) => step(value, out));
  }
  throw fail(path, `cannot read "[${inside}]"`);
}

/** The index of the bracket that closes the one at `open`; quotes hide brackets. */
function closing(path: string, open: number): number {
  let quote = '';
  let depth = 0;
  for (let at = open; at < path.length; at++) {
    const character = path[at] ?? '';
    if (character === '\\') at++;
    else if (quote !== '') quote = character === quote ? '' : quote;
    else if (character === '"' || character === "'") quote = character;
    else if (character === '[') depth++;
    else if (character === ']' && --depth === 0) return at;
  }
  throw fail(path, 'a bracket is not closed');
}

/** Compiles a path such as `.status.conditions[?(@.type=="Ready")].status`; throws EDGE_ERR_JSONPATH_SYNTAX. */
export function compileJsonPath(path: string): JsonPath {
  const steps: Step[] = [];
  let at = path.startsWith('$') ? 1 : 0;
  while (at < path.length) {
    if (steps.length >= MAX_STEPS) throw fail(path, `more than ${MAX_STEPS} steps`);
    if (path.startsWith('..', at)) {
      steps.push(descend);
      at += path[at + 2] === '[' ? 2 : 1;
    } else if (path[at] === '[') {
      const end = closing(path, at);
      steps.push(bracket(path.slice(at + 1, end), path));
      at = end + 1;
    } else {
      const name = /^\.?((?:\\.|[^.[\]\\])+)/su.exec(path.slice(at));
      if (name === null) {
        if (path.slice(at) === '.') break; // `.` alone is the root
        throw fail(path, `cannot read "${path.slice(at)}"`);
      }
      const word = (name[1] ?? '').replaceAll(/\\(.)/gu, '$1');
      steps.push(word === '*' ? everyChild : child(word));
      at += name[0].length;
    }
  }
  return (root) => {
    let values = [root];
    for (const step of steps) {
      const next: unknown[] = [];
      for (const value of values) step(value, next);
      values = next;
    }
    return values;
  };
}
