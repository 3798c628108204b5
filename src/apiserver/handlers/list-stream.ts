/** Sends a long list piece by piece: what is in memory of it at once does not depend on its length. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { RESPONSE_ALREADY_SENT } from '../../lib/http.ts';
import type { StoredObject } from '../store/store.ts';
import { acceptsGzip, GZIP_LEVEL } from './compress.ts';
import type { ApiContext } from './context.ts';

/** Lists below this many characters are sent at once, indented for those who read them. */
const MIN_LENGTH = 1024 * 1024;
/** Characters that are joined into one piece. */
const PIECE_LENGTH = 64 * 1024;
/** A client that takes nothing for so long is gone or stuck. */
const STALL_MS = 60_000;

/** A JSON list in pieces; `head` is its beginning up to the items. */
export function* listPieces(head: string, items: readonly StoredObject[]): Generator<string> {
  let piece = [`${head},"items":[`];
  let length = 0;
  for (const [at, { json }] of items.entries()) {
    piece.push(at === 0 ? json : `,${json}`);
    length += json.length;
    if (length < PIECE_LENGTH) continue;
    yield piece.join('');
    piece = [];
    length = 0;
  }
  piece.push(']}');
  yield piece.join('');
}

/** Whether a list is long enough for sendList, and there is a connection to send it on. */
export function isStreamed(c: ApiContext, items: readonly StoredObject[]): boolean {
  if (c.req.method !== 'GET' || c.env.outgoing === undefined) return false;
  let length = 0;
  return items.some(({ json }) => (length += json.length) >= MIN_LENGTH);
}

/** Sends a list; resolves when the connection has taken all of it, or is gone. */
export async function sendList(
  c: ApiContext,
  head: string,
  items: readonly StoredObject[],
): Promise<Response> {
  const { outgoing } = c.env;
  if (outgoing === undefined) throw new Error('a list is sent on a connection');
  const isCompressed = acceptsGzip(c);
  outgoing.writeHead(200, {
    'content-type': 'application/json',
    'cache-control': 'no-cache, private',
    ...(isCompressed ? { 'content-encoding': 'gzip', vary: 'Accept-Encoding' } : {}),
  });
  outgoing.setTimeout(STALL_MS, () => outgoing.destroy());
  const source = Readable.from(listPieces(head, items), { objectMode: false });
  const sent = isCompressed
    ? pipeline(source, createGzip({ level: GZIP_LEVEL }), outgoing)
    : pipeline(source, outgoing);
  await sent.catch(() => {}); // the client is gone; nobody is left to tell
  return RESPONSE_ALREADY_SENT;
}
