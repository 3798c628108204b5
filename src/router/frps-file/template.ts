/**
 * Renders the Go text templates of frp's configuration files as far as frp documents them: variables of the
 * environment, and ranges over numbers. Anything else in braces is an error, never passed through. Pure.
 */
import { RouterConfigError } from '../errors.ts';
import { parseNumberRange, parseNumberRangePair } from './number-range.ts';
import type { NumberPair } from './number-range.ts';

/** What a template may read. */
export interface TemplateValues {
  /** The source's name, for errors. */
  source: string;
  readEnv(name: string): string | undefined;
}

/** Nested ranges multiply; no configuration is as large as this, characters. */
const MAX_OUTPUT = 4 * 1024 * 1024;
/** Rounds of all ranges together: bodies may print nothing. */
const MAX_ROUNDS = 1_000_000;
/** Deeper nesting is no configuration either. */
const MAX_DEPTH = 16;

type Item = number | NumberPair;
type Part = { text: string } | { action: string; line: number };
type Node =
  | { kind: 'text'; text: string }
  | { kind: 'value'; path: string; line: number }
  | {
      kind: 'range';
      index: string | undefined;
      item: string | undefined;
      list: readonly Item[];
      body: Node[];
    };

/** What names mean inside a range. */
interface Scope {
  dot: Item | undefined;
  variables: ReadonlyMap<string, Item>;
}

/** Renders a template. Throws RouterConfigError that names source and line. */
export function renderTemplate(template: string, values: TemplateValues): string {
  const parts = split(template, values.source);
  const reader = new Reader(parts, values.source);
  const nodes = reader.block(0);
  const writer = new Writer(values);
  writer.write(nodes, { dot: undefined, variables: new Map() });
  return writer.text;
}

function failure(source: string, line: number, problem: string): RouterConfigError {
  return new RouterConfigError(`${source}:${line}`, problem);
}

/** Cuts a template at its braces; `{{-` and `-}}` take the white space beside them away (text/template, Text and spaces). */
function split(template: string, source: string): Part[] {
  const parts: Part[] = [];
  let at = 0;
  let line = 1;
  let trimsNext = false;
  for (;;) {
    const open = template.indexOf('{{', at);
    let text = template.slice(at, open === -1 ? undefined : open);
    line += text.split('\n').length - 1;
    if (trimsNext) text = text.trimStart();
    if (open === -1) {
      parts.push({ text });
      return parts;
    }
    // A comment may hold braces of its own.
    const isComment = /^(?:-\s+)?\/\*/u.test(template.slice(open + 2, open + 12));
    const body = isComment ? template.indexOf('*/', open + 2) : open + 2;
    const close = body === -1 ? -1 : template.indexOf('}}', body);
    if (close === -1) throw failure(source, line, 'an action begins with {{ and never ends');
    let action = template.slice(open + 2, close);
    const startLine = line;
    line += action.split('\n').length - 1;
    if (/^-\s/u.test(action)) {
      text = text.trimEnd();
      action = action.slice(1);
    }
    trimsNext = /\s-$/u.test(action);
    if (trimsNext) action = action.slice(0, -1);
    parts.push({ text }, { action: action.trim(), line: startLine });
    at = close + 2;
  }
}

const RANGE = /^range\s+(?:(\$\w*)\s*(?:,\s*(\$\w+)\s*)?:=\s*)?(\w+)((?:\s+(?:"[^"]*"|`[^`]*`))*)$/u;
const VALUE = /^(?:\$?\.Envs\.\w+|\.|\.(?:First|Second)|\$\w+(?:\.(?:First|Second))?)$/u;
const COMMENT = /^\/\*[\s\S]*\*\/$/u;

/** Builds the tree of ranges. */
class Reader {
  readonly #parts: readonly Part[];
  readonly #source: string;
  #at = 0;

  constructor(parts: readonly Part[], source: string) {
    this.#parts = parts;
    this.#source = source;
  }

  /** Reads up to the end of a range, or of the file at depth 0. */
  block(depth: number, openedAt = 0): Node[] {
    const nodes: Node[] = [];
    for (;;) {
      const part = this.#parts[this.#at++];
      if (part === undefined) {
        if (depth > 0) throw failure(this.#source, openedAt, 'range has no end');
        return nodes;
      }
      if ('text' in part) {
        nodes.push({ kind: 'text', text: part.text });
        continue;
      }
      const { action, line } = part;
      if (action === 'end') {
        if (depth === 0) throw failure(this.#source, line, 'end without a range');
        return nodes;
      }
      if (COMMENT.test(action)) continue;
      if (VALUE.test(action)) nodes.push({ kind: 'value', path: action, line });
      else nodes.push(this.#range(action, line, depth));
    }
  }

  #range(action: string, line: number, depth: number): Node {
    const match = RANGE.exec(action);
    if (match === null) {
      throw failure(
        this.#source,
        line,
        `{{ ${action} }} is not supported; only .Envs.NAME and range over parseNumberRange or parseNumberRangePair are`,
      );
    }
    if (depth >= MAX_DEPTH) throw failure(this.#source, line, 'ranges are nested too deeply');
    const [, first, second, name = '', given = ''] = match;
    const texts = [...given.matchAll(/"([^"]*)"|`([^`]*)`/gu)].map(([, quoted, raw]) => quoted ?? raw ?? '');
    return {
      kind: 'range',
      // one name is the item, two are index and item (text/template, Variables)
      index: second === undefined ? undefined : first,
      item: second ?? first,
      list: this.#list(name, texts, line),
      body: this.block(depth + 1, line),
    };
  }

  #list(name: string, texts: readonly string[], line: number): readonly Item[] {
    const wanted = name === 'parseNumberRange' ? 1 : name === 'parseNumberRangePair' ? 2 : undefined;
    if (wanted === undefined) throw failure(this.#source, line, `function ${name} is not supported`);
    if (texts.length !== wanted)
      throw failure(this.#source, line, `${name} wants ${wanted} text${wanted === 1 ? '' : 's'}`);
    const [first = '', second = ''] = texts;
    try {
      return wanted === 1 ? parseNumberRange(first) : parseNumberRangePair(first, second);
    } catch (err) {
      throw failure(this.#source, line, `${name}: ${err instanceof Error ? err.message : String(err)}`);
    }
  }
}

/** Puts the tree into text. */
class Writer {
  readonly #values: TemplateValues;
  #out: string[] = [];
  #length = 0;
  #rounds = 0;

  constructor(values: TemplateValues) {
    this.#values = values;
  }

  get text(): string {
    return this.#out.join('');
  }

  write(nodes: readonly Node[], scope: Scope): void {
    for (const node of nodes) {
      if (node.kind === 'text') this.#add(node.text);
      else if (node.kind === 'value') this.#add(this.#value(node.path, node.line, scope));
      else {
        for (const [index, item] of node.list.entries()) {
          if (++this.#rounds > MAX_ROUNDS)
            throw new RouterConfigError(this.#values.source, `ranges over more than ${MAX_ROUNDS} numbers`);
          const variables = new Map(scope.variables);
          if (node.index !== undefined) variables.set(node.index, index);
          if (node.item !== undefined) variables.set(node.item, item);
          this.write(node.body, { dot: item, variables });
        }
      }
    }
  }

  #add(text: string): void {
    this.#length += text.length;
    if (this.#length > MAX_OUTPUT)
      throw new RouterConfigError(this.#values.source, `becomes longer than ${MAX_OUTPUT} characters`);
    this.#out.push(text);
  }

  #value(path: string, line: number, scope: Scope): string {
    const { source } = this.#values;
    const variable = /^\$?\.Envs\.(\w+)$/u.exec(path)?.[1];
    if (variable !== undefined) {
      // Inside a range the dot is the item, so only $ still leads to the environment.
      if (scope.dot !== undefined && !path.startsWith('$'))
        throw failure(source, line, `{{ ${path} }} inside a range is written {{ $${path} }}`);
      const value = this.#values.readEnv(variable);
      if (value === undefined)
        throw failure(source, line, `variable ${variable} is not set in the environment`);
      return value;
    }
    const [, name = '', member] = /^(\$\w+|)\.?(First|Second)?$/u.exec(path) ?? [];
    const item = name === '' ? scope.dot : scope.variables.get(name);
    if (item === undefined)
      throw failure(
        source,
        line,
        name === '' ? `{{ ${path} }} outside a range` : `variable ${name} is not defined`,
      );
    if (typeof item === 'number') {
      if (member !== undefined) throw failure(source, line, `{{ ${path} }}: a number has no ${member}`);
      return String(item);
    }
    if (member === undefined)
      throw failure(source, line, `{{ ${path} }}: wants .First or .Second of the pair`);
    return String(member === 'First' ? item.first : item.second);
  }
}
