/** What copying needs of a place where files are: this machine's disk and a node's are two of them. */

/** A file or directory, links followed. */
export interface FileInfo {
  kind: 'file' | 'directory' | 'other';
  /** Bytes; 0 for files whose size nobody knows, as those of /proc. */
  size: number;
  /** Permission bits. */
  mode: number;
  /** Seconds since 1970. */
  modifiedAt: number;
  uid: number;
  gid: number;
}

/** A name in a directory. */
export interface DirectoryEntry {
  name: string;
  isLink: boolean;
}

/** A file that is being read. */
export interface FileSource {
  readonly info: FileInfo;
  /** Fills the buffer from a position on; fewer bytes than fit at the end of the file only, and 0 behind it. */
  read(buffer: Buffer, position: number): Promise<number>;
  close(): Promise<void>;
}

/** A file that is being written; under another name until it is complete, where that can be. */
export interface FileSink {
  write(bytes: Buffer, position: number): Promise<void>;
  /** Makes it durable and gives it its name. It replaces what had the name, as a whole. */
  commit(): Promise<void>;
  /** Gives up: what had the name stays as it was. Never rejects; answers the unfinished file that could not be removed. */
  abandon(): Promise<string | undefined>;
  /** Whether what is there stays whole when the writing breaks off. */
  readonly isAtomic: boolean;
}

/** How a new file is to be. */
export interface FileAttributes {
  /** Permission bits of a file that is new; one that is replaced keeps its own, and its owner where this is allowed. */
  mode: number;
  /** Seconds since 1970; now when undefined. */
  modifiedAt: number | undefined;
}

/** A place where files are. All calls reject with an error that names the path. */
export interface FileTree {
  /** The path as people write it, with the node in front. */
  describe(path: string): string;
  /** Undefined when there is none. */
  stat(path: string): Promise<FileInfo | undefined>;
  list(path: string): Promise<DirectoryEntry[]>;
  read(path: string): Promise<FileSource>;
  create(path: string, attributes: FileAttributes): Promise<FileSink>;
  /** Makes a directory; one that is there already is fine. */
  makeDirectory(path: string, mode: number): Promise<void>;
}

/** A name for an unfinished file beside the one it becomes; `random` from 0 to 1. */
export function unfinishedName(name: string, random: () => number): string {
  const id = Math.floor(random() * 36 ** 6).toString(36);
  // file systems take 255 bytes
  return `.${Buffer.from(name).subarray(0, 200).toString()}.${id}.part`;
}
