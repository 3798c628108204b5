/** Reads the lines of a watch: one JSON event each, bounded in length, in order; ends when the server ends it. */
import type { IncomingMessage } from 'node:http';
import type { WatchEvent } from '../api/meta.ts';
import { EdgeError } from '../lib/errors.ts';
import { ApiError, connectionError } from './errors.ts';
import type { ApiStatus } from './errors.ts';
import type { Pacer } from './pacer.ts';
import { tooLargeError } from './transport.ts';

const LINE_FEED = 10;

/**
 * Yields events until the stream ends. Throws ApiError for an ERROR event, EDGE_ERR_API_PROTOCOL for a line that is
 * no event, EDGE_ERR_API_TOO_LARGE for one over the limit. Leaving the loop closes the connection.
 */
export async function* readEvents<T>(
  server: string,
  body: IncomingMessage,
  maxLineBytes: number,
  pacer?: Pacer,
): AsyncGenerator<WatchEvent<T>> {
  let parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      let from = 0;
      for (let at = chunk.indexOf(LINE_FEED); at !== -1; at = chunk.indexOf(LINE_FEED, from)) {
        const line = Buffer.concat([...parts, chunk.subarray(from, at)]).toString('utf8');
        parts = [];
        bytes = 0;
        from = at + 1;
        if (line.trim() !== '') yield parseEvent<T>(server, line);
      }
      const rest = chunk.subarray(from);
      bytes += rest.length;
      if (bytes > maxLineBytes) throw tooLargeError(server, maxLineBytes);
      if (rest.length > 0) parts.push(rest);
      await pacer?.take(chunk.length);
    }
  } catch (err) {
    throw connectionError(server, err);
  } finally {
    body.destroy();
  }
}

const TYPES = new Set(['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR']);

function parseEvent<T>(server: string, line: string): WatchEvent<T> {
  let event: { type?: unknown; object?: unknown } | null;
  try {
    event = JSON.parse(line) as { type?: unknown; object?: unknown } | null;
  } catch (err) {
    throw protocolError(server, err);
  }
  if (typeof event !== 'object' || event === null) throw protocolError(server);
  const { type, object } = event;
  if (typeof type !== 'string' || !TYPES.has(type) || typeof object !== 'object' || object === null) {
    throw protocolError(server);
  }
  if (type === 'ERROR') {
    const status = object as ApiStatus;
    throw new ApiError(status, status.code ?? 500);
  }
  return event as WatchEvent<T>;
}

/** The error of an answer that is not what the Kubernetes API promises. */
export function protocolError(server: string, cause?: unknown): EdgeError {
  return new EdgeError(
    'EDGE_ERR_API_PROTOCOL',
    `the API server ${server} sent something that is not a Kubernetes answer`,
    {
      cause,
      hint: 'check that this is the address of an API server',
    },
  );
}
