/** Moves the bytes of one file with many requests under way, so that the distance costs little. */
import type { FileSink, FileSource } from './file-tree.ts';
import { SshError } from '../errors.ts';

/** One request, bytes. OpenSSH takes up to 256 KiB; a channel's window is 2 MiB. */
export const CHUNK_BYTES = 128 * 1024;
/** Requests of one file under way: a little more than a window. */
const MAX_IN_FLIGHT = 24;

/** What a copy of one file is told and tells. */
export interface CopyChunksOptions {
  onProgress?: (bytes: number) => void;
  signal?: AbortSignal;
}

/**
 * Copies a source of known size whole: what is appended meanwhile is left, and one that becomes shorter rejects. One of
 * unknown size is read to its end. Resolves with the number of bytes.
 */
export async function copyChunks(
  source: FileSource,
  sink: FileSink,
  { onProgress, signal }: CopyChunksOptions = {},
): Promise<number> {
  const { size } = source.info;
  let next = 0;
  let end = size === 0 ? Number.POSITIVE_INFINITY : size;
  let copied = 0;
  let isBroken = false;
  const work = async (): Promise<void> => {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, size === 0 ? CHUNK_BYTES : size));
    while (next < end && !isBroken) {
      signal?.throwIfAborted();
      const position = next;
      next += buffer.length;
      const wanted = Math.min(buffer.length, end - position);
      const got = await source.read(buffer.subarray(0, wanted), position);
      if (got < wanted) end = Math.min(end, position + got);
      if (got === 0) return;
      await sink.write(buffer.subarray(0, got), position);
      copied += got;
      onProgress?.(got);
    }
  };
  const count = size === 0 ? 1 : Math.min(MAX_IN_FLIGHT, Math.ceil(size / CHUNK_BYTES));
  const workers = Array.from({ length: count }, () =>
    work().catch((err: unknown) => {
      isBroken = true;
      throw err;
    }),
  );
  // all of them have to be done with the file before it is closed
  const failed = (await Promise.allSettled(workers)).find(({ status }) => status === 'rejected');
  if (failed?.status === 'rejected') throw failed.reason;
  if (size !== 0 && copied < size)
    throw new SshError('channel', `it became shorter while it was copied: ${copied} of ${size} bytes`);
  return copied;
}
