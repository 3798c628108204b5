/** The served kinds, made from the CRDs: names, schemas, validators and columns. One table for every handler. */
import type { CustomResourceDefinition, JsonSchema, PrinterColumn } from '../../api/crd.ts';
import { crds } from '../../api/gen/crds.ts';
import { compileJsonPath } from '../../api/json-path.ts';
import type { JsonPath } from '../../api/json-path.ts';
import { createValidator } from '../../api/validate.ts';
import type { Validator } from '../../api/validate.ts';
import { METADATA } from './metadata.ts';

/** A column of a Table with its compiled path. */
export interface Column {
  definition: PrinterColumn;
  path: JsonPath;
}

/** One served resource. */
export interface Resource {
  crd: CustomResourceDefinition;
  group: string;
  version: string;
  /** `group/version`, or the version alone for the core group, whose name is empty. */
  apiVersion: string;
  isNamespaced: boolean;
  plural: string;
  singular: string;
  kind: string;
  listKind: string;
  shortNames: readonly string[];
  categories: readonly string[];
  schema: JsonSchema;
  /** The schema with that of metadata in its place: what ownership of fields goes by. */
  fieldSchema: JsonSchema;
  /** Checks everything but status. */
  validateMain: Validator;
  /** Checks status alone. */
  validateStatus: Validator;
  columns: readonly Column[];
  /** Fields besides metadata.name that field selectors may name. */
  selectableFields: readonly string[];
  verbs: readonly string[];
  /** Of its status; none when it has no path of its own. */
  statusVerbs: readonly string[];
}

/**
 * Selectable fields by plural name. They do not stand in the CRDs, because Kubernetes before 1.31 refuses to install
 * a CRD that has them.
 */
const SELECTABLE_FIELDS: Readonly<Record<string, readonly string[]>> = {
  nodemaintenances: ['spec.nodeName'],
};

const READ_VERBS = ['get', 'list', 'watch'] as const;
const RESOURCE_VERBS = [
  'delete',
  'deletecollection',
  'get',
  'list',
  'patch',
  'create',
  'update',
  'watch',
] as const;
const STATUS_VERBS = ['get', 'patch', 'update'] as const;

/** Makes a resource from its CRD. */
export function createResource(
  crd: CustomResourceDefinition,
  options: { isReadOnly?: boolean; selectableFields?: readonly string[] } = {},
): Resource {
  const isReadOnly = options.isReadOnly === true;
  const { group, names, versions } = crd.spec;
  const version = versions.find((entry) => entry.storage);
  if (version === undefined) throw new Error(`${crd.metadata.name}: no storage version`);
  const schema = version.schema.openAPIV3Schema;
  const { status, ...main } = schema.properties ?? {};
  return {
    crd,
    group,
    version: version.name,
    apiVersion: group === '' ? version.name : `${group}/${version.name}`,
    isNamespaced: crd.spec.scope === 'Namespaced',
    plural: names.plural,
    singular: names.singular,
    kind: names.kind,
    listKind: names.listKind,
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    schema,
    fieldSchema: { ...schema, properties: { ...schema.properties, metadata: METADATA } },
    validateMain: createValidator({ ...schema, properties: main }),
    validateStatus: createValidator({ type: 'object', properties: status === undefined ? {} : { status } }),
    columns: (version.additionalPrinterColumns ?? []).map((definition) => ({
      definition,
      path: compileJsonPath(definition.jsonPath),
    })),
    selectableFields: options.selectableFields ?? SELECTABLE_FIELDS[names.plural] ?? [],
    verbs: isReadOnly ? READ_VERBS : RESOURCE_VERBS,
    statusVerbs: isReadOnly ? [] : STATUS_VERBS,
  };
}

/** The served resources by plural name. */
export const resources: ReadonlyMap<string, Resource> = new Map(
  crds.map((crd) => [crd.spec.names.plural, createResource(crd)]),
);
