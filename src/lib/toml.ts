/** TOML in; the one place that touches the `smol-toml` package (TOML 1.0). */
import { parse, TomlError } from 'smol-toml';
import { EdgeError } from './errors.ts';

/**
 * Parses a TOML text to a table. Integers become numbers; dates stay objects of the package, which no setting here
 * takes. Throws EDGE_ERR_TOML_PARSE that names `source`, line and column.
 */
export function parseToml(text: string, source: string): Record<string, unknown> {
  try {
    return parse(text, { maxDepth: 64 });
  } catch (err) {
    throw new EdgeError('EDGE_ERR_TOML_PARSE', `${source}:${problemOf(err)}`, { cause: err });
  }
}

/** The package appends a picture of the place to its message; one line is enough here. */
function problemOf(err: unknown): string {
  if (!(err instanceof TomlError)) return ' not valid TOML';
  const what = (err.message.split('\n', 1)[0] ?? '').replace(/^Invalid TOML document: /u, '');
  return `${err.line}:${err.column}: ${what === '' ? 'not valid TOML' : what}`;
}
