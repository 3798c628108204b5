/** YAML in and out; the one place that touches the `yaml` package, which is loaded at its first use. JSON is read as YAML. */
import { isScalar, LineCounter, parseAllDocuments, stringify, visit } from 'yaml';
import type { Document, ScalarTag } from 'yaml';
import { EdgeError } from './errors.ts';
import { readPlainYaml } from './plain-yaml.ts';

/** Alias expansions allowed in a document: stops "billion laughs" bodies. */
const MAX_ALIASES = 100;

/** Nesting allowed in a document: the parser goes one call deeper for each level, and the stack is not endless. */
const MAX_FLOW_LEVELS = 256;
/** Each level of block style starts at a column of its own, so the columns before a line's text bound its level. */
const TOO_DEEP_BLOCK = /^[ \-?:]{1024}/mu;

/** Whether brackets are nested too deeply; those in texts count too, which no honest text notices. */
function isTooDeep(text: string): boolean {
  let levels = 0;
  for (const [bracket] of text.matchAll(/[[\]{}]/gu)) {
    levels = bracket === '[' || bracket === '{' ? levels + 1 : Math.max(0, levels - 1);
    if (levels > MAX_FLOW_LEVELS) return true;
  }
  return TOO_DEEP_BLOCK.test(text);
}

/** The words that YAML 1.1 reads as booleans and 1.2 as texts. */
const BOOLEAN_WORDS = [
  { test: /^(?:y|Y|yes|Yes|YES|on|On|ON)$/u, value: true },
  { test: /^(?:n|N|no|No|NO|off|Off|OFF)$/u, value: false },
].map(({ test, value }): ScalarTag => ({
  tag: 'tag:yaml.org,2002:bool',
  default: true,
  test,
  resolve: () => value,
}));

/** How a text is read. */
export interface YamlOptions {
  /** Read `yes`, `no`, `on` and `off` as booleans, as YAML 1.1 and with it Kubernetes has them. */
  hasBooleanWords?: boolean;
  /** Is told of a key that stands in its map already, and of its line; the last one counts. An error when absent. */
  onRepeatedKey?: (key: string, line: number) => void;
}

/**
 * Parses every document of a YAML text; empty documents are left out.
 * Throws EDGE_ERR_YAML_PARSE that names `source`, line and column.
 */
export function parseYamlDocuments(text: string, source: string, options: YamlOptions = {}): unknown[] {
  if (isTooDeep(text)) throw new EdgeError('EDGE_ERR_YAML_PARSE', `${source}: nested too deeply`);
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, {
    lineCounter: lines,
    uniqueKeys: options.onRepeatedKey === undefined,
    ...(options.hasBooleanWords === true ? { customTags: BOOLEAN_WORDS } : {}),
  });
  const values: unknown[] = [];
  for (const document of documents) {
    const problem = document.errors[0];
    if (problem !== undefined) {
      const { line, col } = lines.linePos(problem.pos[0]);
      const what =
        problem.message.split('\n', 1)[0]?.replace(/ at line \d+, column \d+:?$/u, '') ?? 'not valid YAML';
      throw new EdgeError('EDGE_ERR_YAML_PARSE', `${source}:${line}:${col}: ${what}`, { cause: problem });
    }
    if (options.onRepeatedKey !== undefined) findRepeatedKeys(document, lines, options.onRepeatedKey);
    let value: unknown;
    try {
      value = document.toJS({ maxAliasCount: MAX_ALIASES });
    } catch (err) {
      throw new EdgeError('EDGE_ERR_YAML_PARSE', `${source}: too many aliases`, { cause: err });
    }
    if (value !== null && value !== undefined) values.push(value);
  }
  return values;
}

function findRepeatedKeys(
  document: Document.Parsed,
  lines: LineCounter,
  onRepeatedKey: (key: string, line: number) => void,
): void {
  visit(document, {
    Map(_, map) {
      const seen = new Set<string>();
      for (const { key } of map.items) {
        if (!isScalar(key)) continue;
        const text = String(key.value);
        if (seen.has(text)) onRepeatedKey(text, lines.linePos(key.range?.[0] ?? 0).line);
        seen.add(text);
      }
    },
  });
}

/** Parses a text that holds one document; undefined when it is empty. */
export function parseYaml(text: string, source: string, options: YamlOptions = {}): unknown {
  const plain = options.hasBooleanWords === true ? undefined : readPlainYaml(text);
  if (plain !== undefined) return plain;
  const values = parseYamlDocuments(text, source, options);
  if (values.length > 1)
    throw new EdgeError('EDGE_ERR_YAML_PARSE', `${source}: holds ${values.length} documents, wanted one`);
  return values[0];
}

/** Formats a value as YAML in the style of kubectl, which sorts the members of objects. */
export function formatYaml(value: unknown, isSorted = false): string {
  return stringify(value, {
    sortMapEntries: isSorted,
    lineWidth: 0,
    aliasDuplicateObjects: false,
    indentSeq: false,
    compat: 'yaml-1.1',
  });
}
