/** Backup and restore over HTTP: streamed out at one revision; read, checked and only then put in place. */
import { statusError, badRequest } from '../../api/status.ts';
import { errorCode, errorMessage } from '../../lib/errors.ts';
import type { ApiContext, ApiDeps } from '../handlers/context.ts';
import { jsonResponse } from '../handlers/respond.ts';
import { describeSnapshot, readBackup } from '../store/backup.ts';
import type { DurableStore } from '../store/durable-store.ts';

/** The largest backup that is read; the store keeps everything in memory, so a sound one is far smaller. */
const MAX_BACKUP_BYTES = 512 * 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;

/** GET of the backup. */
export async function sendBackup(deps: ApiDeps, store: DurableStore): Promise<Response> {
  const snapshot = await store.snapshot();
  const header = await describeSnapshot(snapshot, deps.node, deps.clock.wallNow());
  const head = new TextEncoder().encode(`${JSON.stringify(header)}\n`);
  const { image } = snapshot;
  let at = -1;
  const body = new ReadableStream<Uint8Array>({
    pull(controller) {
      if (at < 0) controller.enqueue(head);
      else controller.enqueue(image.subarray(at, at + CHUNK_BYTES));
      at = at < 0 ? 0 : at + CHUNK_BYTES;
      if (at >= image.length) controller.close();
    },
  });
  return new Response(body, {
    headers: {
      'content-type': 'application/octet-stream',
      'content-length': String(head.length + image.length),
      'cache-control': 'no-store',
      'x-edge-revision': String(snapshot.revision),
    },
  });
}

async function readUpload(c: ApiContext): Promise<Buffer> {
  const tooLarge = (): Error =>
    statusError('RequestEntityTooLarge', `Request entity too large: limit is ${MAX_BACKUP_BYTES}`);
  if (Number(c.req.header('content-length') ?? 0) > MAX_BACKUP_BYTES) throw tooLarge();
  const source: AsyncIterable<Uint8Array> | null =
    c.env.incoming ?? (c.req.raw.body as AsyncIterable<Uint8Array> | null);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of source ?? []) {
      bytes += chunk.length;
      if (bytes > MAX_BACKUP_BYTES) throw tooLarge();
      chunks.push(chunk);
    }
  } catch (err) {
    if (bytes > MAX_BACKUP_BYTES) throw err;
    throw badRequest(`the backup was cut short: ${errorMessage(err)}`);
  }
  return Buffer.concat(chunks);
}

/** POST of a backup: replaces all objects and ends the watches, whose clients list again. */
export async function takeRestore(c: ApiContext, deps: ApiDeps, store: DurableStore): Promise<Response> {
  const data = await readUpload(c);
  try {
    const { header, objects } = await readBackup(data);
    const foreign = objects.find((row) => !deps.resources.has(row.resource));
    if (foreign !== undefined)
      throw badRequest(`the backup holds ${foreign.resource}, which this server does not serve`);
    if (c.req.query('dryRun') === 'All') return jsonResponse({ checked: true, ...header });
    const revision = await store.restore(objects, header.revision);
    deps.watches.endAll();
    return jsonResponse({ revision, objects: objects.length, from: header });
  } catch (err) {
    if (errorCode(err) === 'EDGE_ERR_STORE_BACKUP') throw badRequest(errorMessage(err));
    throw err;
  }
}
