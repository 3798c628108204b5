/** From the text of a frps configuration file to plain values: template, then TOML, JSON or YAML, told apart as frps does. */
import { extname } from 'node:path';
import { errorMessage } from '../../lib/errors.ts';
import { parseToml } from '../../lib/toml.ts';
import { parseYaml } from '../../lib/yaml.ts';
import { RouterConfigError } from '../errors.ts';
import { renderTemplate } from './template.ts';

/** The old format's only sure sign (frp protocol 8.1). */
const INI_COMMON = /^[ \t]*\[common\][ \t]*$/mu;

/**
 * The values of a file's text. Throws RouterConfigError, or the parser's error, that names `source` and the place.
 * A text that is TOML is read as TOML; else it is JSON when it begins with a brace, and YAML otherwise.
 */
export function parseFrpsText(
  text: string,
  source: string,
  readEnv: (name: string) => string | undefined,
): unknown {
  if (INI_COMMON.test(text)) {
    throw new RouterConfigError(
      source,
      'is in the INI format that frp deprecated; rewrite it as TOML: no [common], bindPort instead of bind_port,' +
        ' auth.token instead of token, webServer.port instead of dashboard_port',
    );
  }
  const rendered = renderTemplate(text.replace(/^\uFEFF/u, ''), { source, readEnv });
  let tomlProblem: unknown;
  try {
    return parseToml(rendered, source);
  } catch (err) {
    tomlProblem = err;
  }
  if (extname(source).toLowerCase() === '.toml') throw tomlProblem;
  if (/^\s*\{/u.test(rendered)) return parseJson(rendered, source);
  return withoutAnchors(parseYaml(rendered, source), source);
}

function parseJson(text: string, source: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (err) {
    throw new RouterConfigError(source, `not valid JSON: ${errorMessage(err)}`, err);
  }
}

/** Top-level keys of YAML that begin with a dot only hold anchors. An empty file is one with defaults. */
function withoutAnchors(value: unknown, source: string): unknown {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new RouterConfigError(source, 'is neither TOML, JSON nor YAML with settings');
  return Object.fromEntries(Object.entries(value).filter(([key]) => !key.startsWith('.')));
}
