/** kubectl's JSONPath templates: text with `{expressions}`, `{range PATH}…{end}` and quoted literals. */
import { compileJsonPath } from '../../../api/json-path.ts';
import type { JsonPath } from '../../../api/json-path.ts';
import { EdgeError } from '../../../lib/errors.ts';
import { sortKeys } from './sort-keys.ts';

type Node =
  | { type: 'text'; text: string }
  | { type: 'path'; path: JsonPath; isRoot: boolean }
  | { type: 'range'; path: JsonPath; isRoot: boolean; body: Node[] };

/** A compiled template. */
export type Template = (root: unknown) => string;

function syntaxError(template: string, why: string): EdgeError {
  return new EdgeError('EDGE_ERR_JSONPATH_SYNTAX', `error parsing jsonpath ${template}, ${why}`);
}

/** Compiles a template; throws EDGE_ERR_JSONPATH_SYNTAX. A path that finds nothing prints nothing. */
export function compileTemplate(template: string): Template {
  const top: Node[] = [];
  const open: Node[][] = [top];
  for (const part of splitTemplate(template)) {
    const into = open.at(-1) ?? top;
    if (!part.isExpression) {
      into.push({ type: 'text', text: part.text });
      continue;
    }
    const expression = part.text.trim();
    if (expression === 'end') {
      if (open.length === 1) throw syntaxError(template, 'not in range, nothing to end');
      open.pop();
      continue;
    }
    const range = /^range\s+(.*)$/su.exec(expression);
    if (range !== null) {
      const body: Node[] = [];
      into.push({ type: 'range', ...pathOf(range[1] ?? ''), body });
      open.push(body);
      continue;
    }
    for (const piece of pieces(expression)) {
      const literal = literalOf(piece);
      into.push(literal === undefined ? { type: 'path', ...pathOf(piece) } : { type: 'text', text: literal });
    }
  }
  if (open.length > 1) throw syntaxError(template, 'unterminated range');
  return (root) => render(top, root, root);
}

function splitTemplate(template: string): { text: string; isExpression: boolean }[] {
  const parts: { text: string; isExpression: boolean }[] = [];
  let at = 0;
  while (at < template.length) {
    const start = template.indexOf('{', at);
    if (start === -1) break;
    if (start > at) parts.push({ text: template.slice(at, start), isExpression: false });
    const end = expressionEnd(template, start + 1);
    parts.push({ text: template.slice(start + 1, end), isExpression: true });
    at = end + 1;
  }
  if (at < template.length) parts.push({ text: template.slice(at), isExpression: false });
  return parts;
}

function expressionEnd(template: string, from: number): number {
  let quote = '';
  for (let at = from; at < template.length; at++) {
    const character = template[at] ?? '';
    if (character === '\\') at++;
    else if (quote !== '') quote = character === quote ? '' : quote;
    else if (character === '"' || character === "'") quote = character;
    else if (character === '}') return at;
  }
  throw syntaxError(template, 'unclosed action');
}

/** An expression may hold several paths and literals, separated by spaces. */
function pieces(expression: string): string[] {
  const out: string[] = [];
  let start = 0;
  let quote = '';
  let depth = 0;
  for (let at = 0; at <= expression.length; at++) {
    const character = expression[at] ?? ' ';
    if (character === '\\') at++;
    else if (quote !== '') quote = character === quote ? '' : quote;
    else if (character === '"' || character === "'") quote = character;
    else if (character === '[') depth++;
    else if (character === ']') depth--;
    else if (at >= expression.length || (/\s/u.test(character) && depth === 0)) {
      if (at > start) out.push(expression.slice(start, at));
      start = at + 1;
    }
  }
  return out;
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  '\\': '\\',
  '"': '"',
  "'": "'",
};

function literalOf(piece: string): string | undefined {
  const quoted = /^(["'])(.*)\1$/su.exec(piece);
  return quoted?.[2]?.replaceAll(/\\(.)/gsu, (_all, character: string) => ESCAPES[character] ?? character);
}

function pathOf(text: string): { path: JsonPath; isRoot: boolean } {
  const isRoot = text.startsWith('$');
  return { path: compileJsonPath(text.replace(/^[@$]/u, '')), isRoot };
}

function render(nodes: readonly Node[], current: unknown, root: unknown): string {
  let out = '';
  for (const node of nodes) {
    if (node.type === 'text') {
      out += node.text;
      continue;
    }
    const values = node.path(node.isRoot ? root : current);
    out +=
      node.type === 'path'
        ? values.map(valueText).join(' ')
        : values
            .flatMap((value) => (Array.isArray(value) ? (value as unknown[]) : [value]))
            .map((value) => render(node.body, value, root))
            .join('');
  }
  return out;
}

/** A value as templates and custom columns print it: texts bare, structures as JSON. */
export function valueText(value: unknown): string {
  if (typeof value === 'string') return value;
  return value === null || value === undefined ? '' : JSON.stringify(sortKeys(value));
}

/** Compiles the path of `--sort-by`, custom columns and `wait`: braces and the leading dot may be left out. */
export function compileRelaxedPath(text: string): JsonPath {
  const bare = text.trim().replace(/^\{(.*)\}$/su, '$1');
  return compileJsonPath(
    bare.startsWith('.') || bare.startsWith('[') || bare.startsWith('$') ? bare : `.${bare}`,
  );
}
