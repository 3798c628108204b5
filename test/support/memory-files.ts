/** Files in memory, as the store uses them: copied, damaged and looked at in no time. */
import { basename } from 'node:path';
import type { FileLayer } from '../../src/apiserver/store/files.ts';

/** What a directory holds, by name. Contents are replaced, never changed, so that a copy of the map is a copy of it all. */
export type MemoryDirectory = Map<string, Buffer>;

/** The one directory of `contents`, whatever it is called; `capacity` bytes fit into it. */
export function memoryFiles(contents: MemoryDirectory, capacity = Infinity): FileLayer {
  const read = (path: string): Buffer => {
    const data = contents.get(basename(path));
    if (data === undefined)
      throw Object.assign(new Error(`ENOENT: no such file, open '${path}'`), { code: 'ENOENT' });
    return data;
  };
  const set = (path: string, data: Uint8Array): void => {
    const name = basename(path);
    let bytes = data.length;
    for (const [other, content] of contents) if (other !== name) bytes += content.length;
    if (bytes > capacity && data.length > (contents.get(name)?.length ?? 0))
      throw Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' });
    contents.set(name, Buffer.from(data));
  };
  return {
    makeDirectory: () => Promise.resolve(),
    list: () => Promise.resolve([...contents.keys()]),
    read: async (path) => Buffer.from(read(path)),
    replace: async (path, data) => set(path, data),
    remove: async (path) => void contents.delete(basename(path)),
    syncDirectory: () => Promise.resolve(),
    open: async (path) => {
      if (!contents.has(basename(path))) set(path, Buffer.alloc(0));
      return {
        write: async (data, position) => {
          const old = read(path);
          const next = Buffer.alloc(Math.max(old.length, position + data.length));
          old.copy(next);
          next.set(data, position);
          set(path, next);
        },
        sync: () => Promise.resolve(),
        truncate: async (length) => {
          const next = Buffer.alloc(length);
          read(path).copy(next);
          set(path, next);
        },
        close: () => Promise.resolve(),
      };
    },
  };
}
