/** Compression of large answers, as the reference does it: gzip, from 128 KiB on, never watches. */
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import type { ApiContext } from './context.ts';

const compress = promisify(gzip);

/** Smaller answers cost more to compress than they save. */
const MIN_BYTES = 128 * 1024;
/** Level 1 takes most of what there is to gain at a third of the default's time. */
export const GZIP_LEVEL = 1;

/** Whether the client reads gzip. */
export function acceptsGzip(c: ApiContext): boolean {
  const accepted = (c.req.header('accept-encoding') ?? '').split(',').map((entry) => entry.trim());
  return accepted.some((entry) => /^gzip(?:;q=(?!0(?:\.0*)?$).*)?$/u.test(entry));
}

/** Compresses an answer to a GET when it is large and the client reads gzip. */
export async function compressLarge(c: ApiContext, res: Response): Promise<Response> {
  const bytes = Number(res.headers.get('content-length') ?? 0); // watches and empty answers have none
  if (res.status !== 200 || bytes < MIN_BYTES || !acceptsGzip(c)) return res;
  const body = await compress(Buffer.from(await res.arrayBuffer()), { level: GZIP_LEVEL });
  const compressed = new Response(new Uint8Array(body), res);
  compressed.headers.set('content-length', String(body.length));
  compressed.headers.set('content-encoding', 'gzip');
  compressed.headers.append('vary', 'Accept-Encoding');
  return compressed;
}
