/**
 * Reads the plain part of YAML that programs write, kubeconfigs above all, without loading a YAML parser: maps and
 * lists in block style, one text a line. Whatever is not surely that is left to the parser.
 */

/** Names of entries; quoted ones, and `__proto__`, are for the parser. */
const ENTRY = /^(- )?([A-Za-z][\w-]*):(?: (.*))?$/u;
/** Texts that YAML cannot take for anything else: no digit or sign first, none of its marks, no space. */
const TEXT = /^[A-Za-z/][\w+/=.@:-]*[\w+/=]$/u;
const NOT_TEXT = /^(?:null|true|false)$/iu;
const QUOTED = /^"([^"\\\p{C}]*)"$/u;

/** Why a text is not plain; it never leaves this module. */
const NOT_PLAIN = new Error('not plain YAML');

interface Line {
  indent: number;
  isItem: boolean;
  key: string;
  /** Undefined when the value stands on the lines below. */
  value: unknown;
}

function readValue(text: string): unknown {
  if (text === '{}') return {};
  if (text === '[]') return [];
  const quoted = QUOTED.exec(text)?.[1];
  if (quoted !== undefined) return quoted;
  if (!TEXT.test(text) || NOT_TEXT.test(text)) throw NOT_PLAIN;
  return text;
}

function readLine(text: string): Line {
  const indent = text.search(/[^ ]/u);
  const match = ENTRY.exec(text.slice(indent));
  if (match === null) throw NOT_PLAIN;
  const [, dash, key = '', value] = match;
  return {
    indent,
    isItem: dash !== undefined,
    key,
    value: value === undefined ? undefined : readValue(value),
  };
}

class Reader {
  readonly #lines: readonly Line[];
  #at = 0;

  constructor(lines: readonly Line[]) {
    this.#lines = lines;
  }

  /** Reads everything; the top must be a map. */
  readAll(): Record<string, unknown> {
    const [first] = this.#lines;
    if (first === undefined || first.indent !== 0 || first.isItem) throw NOT_PLAIN;
    const value = this.#readMap(0);
    if (this.#at < this.#lines.length) throw NOT_PLAIN;
    return value;
  }

  /** Reads the entries at this column; a list item's first entry stands behind its dash, two columns on. */
  #readMap(indent: number, first?: Line): Record<string, unknown> {
    const map: Record<string, unknown> = {};
    let line = first ?? this.#lines[this.#at];
    while (line !== undefined && line.indent === indent && (line === first || !line.isItem)) {
      this.#at++;
      if (Object.hasOwn(map, line.key)) throw NOT_PLAIN;
      map[line.key] = line.value ?? this.#readBelow(indent);
      line = this.#lines[this.#at];
    }
    if (line !== undefined && line.indent > indent) throw NOT_PLAIN;
    return map;
  }

  /** Reads what an entry without a value of its own has on the lines below it. */
  #readBelow(indent: number): unknown {
    const next = this.#lines[this.#at];
    if (next === undefined || next.indent < indent || (next.indent === indent && !next.isItem))
      throw NOT_PLAIN;
    return next.isItem ? this.#readList(next.indent) : this.#readMap(next.indent);
  }

  #readList(indent: number): unknown[] {
    const list: unknown[] = [];
    let line = this.#lines[this.#at];
    while (line !== undefined && line.indent === indent && line.isItem) {
      list.push(this.#readMap(indent + 2, { ...line, indent: indent + 2 }));
      line = this.#lines[this.#at];
    }
    if (line !== undefined && line.indent > indent) throw NOT_PLAIN;
    return list;
  }
}

/** The value of a plain text, or undefined when it must be read by a YAML parser, which may find it wrong. */
export function readPlainYaml(text: string): Record<string, unknown> | undefined {
  const lines: Line[] = [];
  try {
    for (const line of text.split('\n')) if (line !== '') lines.push(readLine(line));
    return new Reader(lines).readAll();
  } catch (err) {
    if (err === NOT_PLAIN) return undefined;
    throw err;
  }
}
