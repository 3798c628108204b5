/** Content negotiation: which form of an answer a client can read, by the order of its Accept header. */
import { statusError } from '../../api/status.ts';

/** The form of an answer. */
export type AnswerForm = 'json' | 'yaml' | 'table' | 'partial' | 'partialList';

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
          parameters.set(parameter.slice(0, at).toLowerCase(), parameter.slice(at + 1).replaceAll('"', ''));
      }
      return { type: type.toLowerCase(), parameters };
    });
}

const META_GROUP = 'meta.k8s.io';

function formOf(range: MediaRange): AnswerForm | undefined {
  const isJson = range.type === 'application/json' || range.type === '*/*' || range.type === 'application/*';
  const as = range.parameters.get('as');
  if (as === undefined) {
    if (isJson) return 'json';
    return range.type === 'application/yaml' ? 'yaml' : undefined;
  }
  const version = range.parameters.get('v');
  if (!isJson || range.parameters.get('g') !== META_GROUP || (version !== 'v1' && version !== 'v1beta1'))
    return undefined;
  if (as === 'Table') return 'table';
  if (as === 'PartialObjectMetadata') return 'partial';
  return as === 'PartialObjectMetadataList' ? 'partialList' : undefined;
}

/** The first acceptable form among `offered`; throws a 406 Status when there is none. */
export function negotiate(header: string | undefined, offered: readonly AnswerForm[]): AnswerForm {
  for (const range of parseAccept(header)) {
    const form = formOf(range);
    if (form !== undefined && offered.includes(form)) return form;
  }
  throw notAcceptable(
    offered.map((form) =>
      form === 'yaml'
        ? 'application/yaml'
        : form === 'json'
          ? 'application/json'
          : `application/json;as=${form}`,
    ),
  );
}

/** 406 that lists what there is. */
export function notAcceptable(types: readonly string[]): Error {
  return statusError('NotAcceptable', `only the following media types are accepted: ${types.join(', ')}`);
}
