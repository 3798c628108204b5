/** Reads request bodies: bounded, JSON or YAML, with repeated fields found. */
import { badRequest, statusError } from '../../api/status.ts';
import { errorMessage } from '../../lib/errors.ts';
import { parseYaml } from '../../lib/yaml.ts';
import { MAX_OBJECT_LENGTH } from '../store/store.ts';
import type { ApiContext } from './context.ts';
import { findDuplicateFields } from './json-duplicates.ts';

/** The most bytes of a body: what an object may have. */
export const MAX_BODY_BYTES = MAX_OBJECT_LENGTH;

/** 413 with the limit. */
export function tooLarge(maxBytes = MAX_BODY_BYTES): Error {
  return statusError('RequestEntityTooLarge', `Request entity too large: limit is ${maxBytes}`);
}

/** Repeated members that are named; more help nobody. */
const MAX_REPEATED = 20;

/** A decoded body. */
export interface Body {
  value: unknown;
  /** What is wrong with members that stand twice in one object, in words. */
  repeated: string[];
}

/** Reads the whole body; throws a 413 Status over the limit. What a refused body still sends is drained by the server. */
export async function readBody(c: ApiContext, maxBytes = MAX_BODY_BYTES): Promise<Buffer> {
  const declared = Number(c.req.header('content-length') ?? 0);
  if (declared > maxBytes) throw tooLarge(maxBytes);
  const source: AsyncIterable<Uint8Array> | null =
    c.env.incoming ?? (c.req.raw.body as AsyncIterable<Uint8Array> | null);
  if (source === null) return Buffer.alloc(0);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  if (c.env.incoming !== undefined) return readIncoming(c.env.incoming, maxBytes);
  for await (const chunk of source) {
    bytes += chunk.length;
    if (bytes > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Listens instead of iterating: leaving an iteration early would destroy the socket before the answer is sent. */
function readIncoming(
  incoming: NonNullable<ApiContext['env']['incoming']>,
  maxBytes: number,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    incoming.on('data', (chunk: Buffer) => {
      const isOver = bytes > maxBytes; // what follows is dropped
      bytes += chunk.length;
      if (bytes <= maxBytes) chunks.push(chunk);
      else if (!isOver) reject(tooLarge(maxBytes));
    });
    incoming.on('end', () =>
      resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)),
    );
    incoming.on('close', () => {
      if (!incoming.readableEnded) reject(badRequest('the request body was cut short'));
    });
  });
}

/** The media type of a request's body without parameters; JSON when the header is absent. */
export function contentType(c: ApiContext): string {
  const header = c.req.header('content-type') ?? '';
  const type = (header.split(';', 1)[0] ?? '').trim().toLowerCase();
  return type === '' ? 'application/json' : type;
}

/** 415 that lists what is accepted. */
export function unsupportedMediaType(accepted: readonly string[]): Error {
  return statusError(
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  );
}

/** Decodes JSON; throws a 400 Status. */
export function decodeJson(bytes: Buffer): Body {
  const text = bytes.toString();
  try {
    const value = JSON.parse(text) as unknown;
    return {
      value,
      repeated: findDuplicateFields(text, value).map((path) => `duplicate field ${JSON.stringify(path)}`),
    };
  } catch (err) {
    throw badRequest(`the request body is not valid JSON: ${errorMessage(err)}`);
  }
}

/** Decodes YAML (or JSON, which is YAML); throws a 400 Status, also for several documents. */
export function decodeYaml(bytes: Buffer): Body {
  const repeated: string[] = [];
  try {
    const value = parseYaml(bytes.toString(), 'request body', {
      hasBooleanWords: true,
      onRepeatedKey: (key, line) => {
        if (repeated.length < MAX_REPEATED)
          repeated.push(`line ${line}: key ${JSON.stringify(key)} already set in map`);
      },
    });
    return { value, repeated };
  } catch (err) {
    throw badRequest(`error converting YAML to JSON: ${errorMessage(err)}`);
  }
}

/** Reads and decodes an object body: JSON, or YAML when the header says so. */
export async function readObjectBody(c: ApiContext): Promise<Body> {
  const type = contentType(c);
  if (type !== 'application/json' && type !== 'application/yaml') {
    throw unsupportedMediaType(['application/json', 'application/yaml']);
  }
  const bytes = await readBody(c);
  return type === 'application/yaml' ? decodeYaml(bytes) : decodeJson(bytes);
}
