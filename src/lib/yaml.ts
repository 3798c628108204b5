/** YAML in and out; the one place that touches the `yaml` package. JSON is read as YAML. */
import { LineCounter, parseAllDocuments, stringify } from 'yaml';
import { EdgeError } from './errors.ts';

/** Alias expansions allowed in a document: stops "billion laughs" bodies. */
const MAX_ALIASES = 100;

/**
 * Parses every document of a YAML text; empty documents are left out.
 * Throws EDGE_ERR_YAML_PARSE that names `source`, line and column.
 */
export function parseYamlDocuments(text: string, source: string): unknown[] {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, uniqueKeys: true });
  const values: unknown[] = [];
  for (const document of documents) {
    const problem = document.errors[0];
    if (problem !== undefined) {
      const { line, col } = lines.linePos(problem.pos[0]);
      const what =
        problem.message.split('\n', 1)[0]?.replace(/ at line \d+, column \d+:?$/u, '') ?? 'not valid YAML';
      throw new EdgeError('EDGE_ERR_YAML_PARSE', `${source}:${line}:${col}: ${what}`, { cause: problem });
    }
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

/** Parses a text that holds one document; undefined when it is empty. */
export function parseYaml(text: string, source: string): unknown {
  const values = parseYamlDocuments(text, source);
  if (values.length > 1)
    throw new EdgeError('EDGE_ERR_YAML_PARSE', `${source}: holds ${values.length} documents, wanted one`);
  return values[0];
}

/** Formats a value as YAML in the style of kubectl. */
export function formatYaml(value: unknown): string {
  return stringify(value, {
    lineWidth: 0,
    aliasDuplicateObjects: false,
    indentSeq: false,
    compat: 'yaml-1.1',
  });
}
