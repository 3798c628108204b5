/** Edits YAML as people wrote it: comments, order, quoting and untouched documents stay. JSON is edited as JSON. */
import { parseAllDocuments, parseDocument } from 'yaml';
import type { Document } from 'yaml';
import { EdgeError } from './errors.ts';
import { formatYaml, parseYamlDocuments } from './yaml.ts';

/** Where a value stands in a document: keys of maps, places in lists; a list's length appends. */
export type YamlPath = readonly (string | number)[];

/** A value that is to stand at a path; undefined removes what is there. */
export interface YamlChange {
  path: YamlPath;
  value: unknown;
}

/** Every scalar stays the text that it was: what looks like a number, `0644`, is not written anew in another form. */
const AS_WRITTEN = { schema: 'failsafe' } as const;

/**
 * Applies what `changesOf` answers for each document (its value, its number from 1) to a text of one or several
 * documents, and gives the new text. Throws EDGE_ERR_YAML_PARSE or EDGE_ERR_YAML_EDIT that names `source`.
 */
export function editYamlDocuments(
  text: string,
  source: string,
  changesOf: (value: unknown, number: number) => readonly YamlChange[],
): string {
  parseYamlDocuments(text, source); // refuses what is wrong, or dangerous to read
  const values = parseAllDocuments(text).map((document): unknown => document.toJS());
  const edits = values.map((value, at) => changesOf(value, at + 1));
  if (edits.every((changes) => changes.length === 0)) return text;
  const documents = parseAllDocuments(text, AS_WRITTEN);
  const starts = documents.map((document, at) => (at === 0 ? 0 : document.range[0]));
  const layout = layoutOf(text);
  const parts = documents.map((document, at) => {
    const changes = edits[at] ?? [];
    if (changes.length === 0) return text.slice(starts[at], starts[at + 1]);
    for (const change of changes) applyChange(document, change, `${source}: document ${at + 1}`);
    return isJson(text) ? formatJson(text, changes) : document.toString(layout);
  });
  return parts.map((part) => (part === '' || part.endsWith('\n') ? part : `${part}\n`)).join('');
}

function applyChange(document: Document, { path, value }: YamlChange, where: string): void {
  try {
    if (value === undefined) document.deleteIn(path);
    else document.setIn(path, parseDocument(formatYaml(value), AS_WRITTEN).contents);
  } catch (err) {
    throw new EdgeError('EDGE_ERR_YAML_EDIT', `${where}: ${path.join('.')} cannot be changed in place`, {
      cause: err,
      hint: 'write it out where it is an alias of another part',
    });
  }
}

function isJson(text: string): boolean {
  if (!text.trimStart().startsWith('{')) return false;
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function formatJson(text: string, changes: readonly YamlChange[]): string {
  const document = parseDocument(text);
  for (const { path, value } of changes) {
    if (value === undefined) document.deleteIn(path);
    else document.setIn(path, document.createNode(value));
  }
  return `${JSON.stringify(document.toJS(), undefined, 2)}\n`;
}

/** How the author indents lists and spaces braces. */
function layoutOf(text: string): { lineWidth: 0; indentSeq: boolean; flowCollectionPadding: boolean } {
  return {
    lineWidth: 0,
    indentSeq: !/^( *)[^\s#-][^\n]*:[ \t]*\n\1- /mu.test(text),
    flowCollectionPadding: !/[{[][^\s\]}]/u.test(text),
  };
}
