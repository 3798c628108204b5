/** Content negotiation: which form of an answer a client can read, by the order of its Accept header. */
import { statusError } from '../../api/status.ts';

/** What an answer holds: whole objects, a Table, or metadata alone. */
export type AnswerShape = 'object' | 'table' | 'partial' | 'partialList';

/** The form of an answer. */
export interface AnswerForm {
  shape: AnswerShape;
  isYaml: boolean;
  /** Of a Table or metadata: `meta.k8s.io/v1`, or the beta of it that clients from before 1.15 ask for. */
  metaVersion: string;
}

/** One entry of an Accept header. */
export interface MediaRange {
  type: string;
  parameters: ReadonlyMap<string, string>;
}

/** Entries read from one header; more are ignored. */
const MAX_RANGES = 32;

/** Splits an Accept header; an absent one accepts everything. */
export function parseAccept(header: string | undefined): MediaRange[] {
  if (header === undefined || header.trim() === '') return [{ type: '*/*', parameters: new Map() }];
  return header
    .split(',')
    .slice(0, MAX_RANGES)
    .map((entry) => {
      const [type = '', ...rest] = entry.split(';').map((part) => part.trim());
      const parameters = new Map<string, string>();
      for (const parameter of rest) {
        const at = parameter.indexOf('=');
        if (at > 0)
          parameters.set(
            parameter.slice(0, at).trim().toLowerCase(),
            parameter
              .slice(at + 1)
              .trim()
              .replaceAll('"', ''),
          );
      }
      return { type: type.toLowerCase(), parameters };
    });
}

const META_GROUP = 'meta.k8s.io';

const JSON_TYPES: ReadonlySet<string> = new Set(['application/json', 'application/*', '*/*']);
const SHAPES: Readonly<Record<string, AnswerShape>> = {
  Table: 'table',
  PartialObjectMetadata: 'partial',
  PartialObjectMetadataList: 'partialList',
};

function formOf({ type, parameters }: MediaRange): AnswerForm | undefined {
  const isYaml = type === 'application/yaml';
  if (!isYaml && !JSON_TYPES.has(type)) return undefined;
  const as = parameters.get('as');
  const version = parameters.get('v') ?? '';
  const metaVersion = `${META_GROUP}/${version}`;
  if (as === undefined) return { shape: 'object', isYaml, metaVersion: `${META_GROUP}/v1` };
  if (parameters.get('g') !== META_GROUP || (version !== 'v1' && version !== 'v1beta1')) return undefined;
  const shape = Object.hasOwn(SHAPES, as) ? SHAPES[as] : undefined;
  return shape === undefined ? undefined : { shape, isYaml, metaVersion };
}

/** The first acceptable form with one of these shapes; throws a 406 Status when there is none. A watch has no YAML. */
export function negotiate(
  header: string | undefined,
  shapes: readonly AnswerShape[],
  options: { isStream?: boolean } = {},
): AnswerForm {
  const isStream = options.isStream === true;
  for (const range of parseAccept(header)) {
    const form = formOf(range);
    if (form !== undefined && shapes.includes(form.shape) && !(isStream && form.isYaml)) return form;
  }
  throw notAcceptable(
    isStream ? ['application/json;stream=watch'] : ['application/json', 'application/yaml'],
  );
}

/** Whether a client that reads no JSON first reads YAML: its failures come in it too. */
export function prefersYaml(header: string | undefined): boolean {
  for (const { type } of parseAccept(header)) {
    if (type === 'application/yaml') return true;
    if (JSON_TYPES.has(type)) return false;
  }
  return false;
}

/** 406 that lists what there is. */
export function notAcceptable(types: readonly string[]): Error {
  return statusError('NotAcceptable', `only the following media types are accepted: ${types.join(', ')}`);
}
