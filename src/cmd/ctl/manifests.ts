/** Reads what `-f` names: files, directories, standard input; several documents, JSON or YAML, Lists taken apart. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { KubeObject } from '../../api/meta.ts';
import { EdgeError, errorCode, errorMessage, UsageError } from '../../lib/errors.ts';
import { parseYamlDocuments } from '../../lib/yaml.ts';

/** An object of a file. */
export interface Manifest {
  /** The file as the user named it; `STDIN` for `-`. */
  source: string;
  object: KubeObject;
}

const EXTENSIONS = /\.(?:ya?ml|json)$/u;
/** A List may hold Lists; deeper than this is a mistake. */
const MAX_DEPTH = 4;

/** Reads all manifests, in the order of the names. Throws EDGE_ERR_CTL_MANIFEST or EDGE_ERR_YAML_PARSE with the file. */
export async function readManifests(names: readonly string[], isRecursive: boolean): Promise<Manifest[]> {
  const manifests: Manifest[] = [];
  for (const name of names.flatMap((each) => (each === '-' ? ['-'] : filesOf(each, isRecursive)))) {
    const source = name === '-' ? 'STDIN' : name;
    const text = name === '-' ? await readStdin() : readFileSync(name, 'utf8');
    for (const value of parseYamlDocuments(text, source)) manifests.push(...objectsOf(value, source, 0));
  }
  if (manifests.length === 0) throw new UsageError('the files hold no objects');
  return manifests;
}

function filesOf(path: string, isRecursive: boolean): string[] {
  try {
    if (!statSync(path).isDirectory()) return [path];
  } catch (err) {
    const why = errorCode(err) === 'ENOENT' ? 'does not exist' : `cannot be read: ${errorMessage(err)}`;
    throw new EdgeError('EDGE_ERR_CTL_MANIFEST', `the path "${path}" ${why}`, { cause: err });
  }
  const found: string[] = [];
  for (const entry of readdirSync(path, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) {
      if (isRecursive) found.push(...filesOf(inner, true));
    } else if (EXTENSIONS.test(entry.name)) found.push(inner);
  }
  return found;
}

async function readStdin(): Promise<string> {
  let text = '';
  process.stdin.setEncoding('utf8');
  for await (const chunk of process.stdin) text += String(chunk);
  return text;
}

function objectsOf(value: unknown, source: string, depth: number): Manifest[] {
  const fail = (why: string): EdgeError =>
    new EdgeError('EDGE_ERR_CTL_MANIFEST', `error validating "${source}": ${why}`);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw fail('wanted an object');
  const object = value as Partial<KubeObject> & { items?: unknown };
  if (typeof object.apiVersion !== 'string' || object.apiVersion === '') throw fail('apiVersion not set');
  if (typeof object.kind !== 'string' || object.kind === '') throw fail('kind not set');
  if (object.kind.endsWith('List') && Array.isArray(object.items)) {
    if (depth >= MAX_DEPTH) throw fail('lists within lists');
    return (object.items as unknown[]).flatMap((item) => objectsOf(item, source, depth + 1));
  }
  if (typeof object.metadata?.name !== 'string' || object.metadata.name === '')
    throw fail(`${object.kind} without metadata.name`);
  return [{ source, object: object as KubeObject }];
}
