/** The text of `edge ctl explain`: fields of a kind as an OpenAPI v3 document describes them, in kubectl's layout. Pure. */

/** What is used of a schema (OpenAPI 3.0.3, 4.7.24). */
export interface Schema {
  description?: string;
  type?: string;
  format?: string;
  enum?: unknown[];
  required?: string[];
  properties?: Record<string, Schema>;
  items?: Schema;
  additionalProperties?: Schema | boolean;
  allOf?: Schema[];
  $ref?: string;
  'x-kubernetes-group-version-kind'?: Kind[];
  'x-kubernetes-int-or-string'?: boolean;
}

/** A kind in a document. */
export interface Kind {
  group: string;
  version: string;
  kind: string;
}

/** A document, as far as it is used. */
export interface OpenApi {
  components?: { schemas?: Record<string, Schema> };
}

const REF = '#/components/schemas/';
/** Columns of text, beside its indent. */
const WIDTH = 76;
/** Values of an enum that a line of fields shows. */
const MAX_VALUES = 4;

/** The heading of every explanation. */
export function kindText({ group, version, kind }: Kind): string {
  const lines = [...(group === '' ? [] : [['GROUP', group]]), ['KIND', kind], ['VERSION', version]];
  return `${lines.map(([name = '', value = '']) => `${`${name}:`.padEnd(12)}${value}\n`).join('')}\n`;
}

/** The schema of a kind; undefined when the document has none. */
export function schemaOf(document: OpenApi, wanted: Kind): Schema | undefined {
  return Object.values(document.components?.schemas ?? {}).find((schema) =>
    schema['x-kubernetes-group-version-kind']?.some(
      ({ group, version, kind }) =>
        group === wanted.group && version === wanted.version && kind === wanted.kind,
    ),
  );
}

/** Explains schemas of one document. */
export class Explainer {
  readonly #document: OpenApi;

  constructor(document: OpenApi) {
    this.#document = document;
  }

  /** The schema of a field within fields; lists are passed through. The name of the field that is missing otherwise. */
  find(schema: Schema, path: readonly string[]): Schema | string {
    let at = schema;
    for (const name of path) {
      const fields = this.#fields(at);
      const next = Object.hasOwn(fields, name) ? fields[name] : undefined;
      if (next === undefined) return name;
      at = next;
    }
    return at;
  }

  /** The explanation of a schema; `name` is that of the field, undefined for the whole kind. */
  text(schema: Schema, name: string | undefined, isRecursive: boolean): string {
    let out = '';
    if (name !== undefined) {
      const values = (schema.enum ?? []).map((value) => `    ${String(value)}`);
      out += `FIELD: ${name} <${this.#typeOf(schema)}>\n`;
      out += values.length > 0 ? `ENUM:\n${values.join('\n')}\n\n` : '\n\n';
    }
    out += `DESCRIPTION:\n${paragraphs(this.#descriptions(schema).join('\n') || '<empty>')}    \n`;
    if (Object.keys(this.#fields(schema)).length > 0)
      out += `FIELDS:\n${this.#fieldLines(schema, isRecursive, [])}`;
    return `${out}\n`;
  }

  /** `above` has the schemas that this one is within, outermost first: one of them again would have no end. */
  #fieldLines(schema: Schema, isRecursive: boolean, above: readonly Schema[][]): string {
    const parts = this.#parts(schema);
    if (above.flat().some((part) => part.properties !== undefined && parts.includes(part))) return '';
    const indent = '  '.repeat(above.length + 1);
    const required = new Set(parts.flatMap((part) => part.required ?? []));
    return Object.entries(this.#fields(schema))
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, field]) => {
        const mark = required.has(name) ? ' -required-' : '';
        let out = `${indent}${name}\t<${this.#typeOf(field)}>${mark}\n`;
        if (field.enum !== undefined) out += `${indent}enum: ${shortEnum(field.enum)}\n`;
        if (isRecursive) return out + this.#fieldLines(field, true, [...above, parts]);
        return `${out}${paragraphs(field.description ?? '<no description>')}\n`;
      })
      .join('');
  }

  /** A schema with everything that it refers to, and the schema of the items of a list. */
  #parts(schema: Schema, seen = new Set<Schema>()): Schema[] {
    if (seen.has(schema)) return [];
    seen.add(schema);
    const target = schema.$ref === undefined ? undefined : this.#referred(schema.$ref);
    const values = schema.additionalProperties;
    const inner = [
      target,
      ...(schema.allOf ?? []),
      schema.items,
      typeof values === 'object' ? values : undefined,
    ];
    return [schema, ...inner.flatMap((each) => (each === undefined ? [] : this.#parts(each, seen)))];
  }

  #referred(ref: string): Schema | undefined {
    const schemas = this.#document.components?.schemas ?? {};
    const name = ref.startsWith(REF) ? ref.slice(REF.length) : '';
    return Object.hasOwn(schemas, name) ? schemas[name] : undefined;
  }

  #fields(schema: Schema): Record<string, Schema> {
    return Object.assign({}, ...this.#parts(schema).map((part) => part.properties ?? {})) as Record<
      string,
      Schema
    >;
  }

  #descriptions(schema: Schema, seen = new Set<Schema>()): string[] {
    if (seen.has(schema)) return [];
    seen.add(schema);
    const own = schema.description === undefined ? [] : [schema.description];
    const target = schema.$ref === undefined ? undefined : this.#referred(schema.$ref);
    const inner = [...(target === undefined ? [] : [target]), ...(schema.allOf ?? [])];
    return [...own, ...inner.flatMap((each) => this.#descriptions(each, seen))];
  }

  #typeOf(schema: Schema): string {
    if (schema['x-kubernetes-int-or-string'] === true) return 'IntOrString';
    if (schema.$ref !== undefined) return schema.$ref.slice(schema.$ref.lastIndexOf('.') + 1);
    const [only, ...more] = schema.allOf ?? [];
    if (only !== undefined && more.length === 0) return this.#typeOf(only);
    if (schema.items !== undefined) return `[]${this.#typeOf(schema.items)}`;
    if (typeof schema.additionalProperties === 'object')
      return `map[string]${this.#typeOf(schema.additionalProperties)}`;
    return schema.type === undefined || schema.type === 'object' ? 'Object' : schema.type;
  }
}

function shortEnum(values: readonly unknown[]): string {
  const shown = values.slice(0, MAX_VALUES).map(String);
  return [...shown, ...(values.length > MAX_VALUES ? ['....'] : [])].join(', ');
}

/** Lines of at most WIDTH columns, indented; words longer than that stay whole. */
function paragraphs(text: string): string {
  return text
    .split('\n')
    .flatMap((paragraph) => {
      const lines: string[] = [];
      let line = '';
      for (const [, space = '', word = ''] of paragraph.matchAll(/(\s*)(\S+)/gu)) {
        if (line !== '' && line.length + space.length + word.length > WIDTH) {
          lines.push(line);
          line = word;
        } else line += space + word;
      }
      return [...lines, line];
    })
    .map((line) => `    ${line}\n`)
    .join('');
}
