/** Indents JSON for people: when they ask for it, and as the reference does, when a terminal's program or browser asks. */
import type { ApiContext } from './context.ts';

/** Programs whose output people read. */
const PEOPLE = /^(?:curl|Wget|Mozilla)\//u;
/** Longer answers are for programs. */
const MAX_BYTES = 1024 * 1024;

/** Whether the answer is to be indented; a look that costs less than one at the answer. */
export function isForPeople(c: ApiContext): boolean {
  const asked = c.req.query('pretty');
  if (asked !== undefined) return asked !== 'false' && asked !== '0';
  return PEOPLE.test(c.req.header('user-agent') ?? '');
}

/** Indents an answer, where that can be done. */
export async function indentForPeople(c: ApiContext, res: Response): Promise<Response> {
  const bytes = Number(res.headers.get('content-length') ?? 0); // watches have none
  const isPlain = res.headers.get('content-type') === 'application/json' && !res.headers.has('etag');
  if (bytes === 0 || bytes > MAX_BYTES || !isPlain || c.req.method === 'HEAD') return res;
  const text = `${JSON.stringify(await res.json(), undefined, 2)}\n`;
  const indented = new Response(text, res);
  indented.headers.set('content-length', String(Buffer.byteLength(text)));
  return indented;
}
