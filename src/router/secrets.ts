/** Reads what must not stand in objects (tokens, passwords, keys) and tells when a file of it changed. */
import { readFileSync, statSync } from 'node:fs';
import { EdgeError, errorMessage } from '../lib/errors.ts';
import { ERR_ROUTER_SECRET } from './errors.ts';

/** Where secrets come from. */
export interface SecretReader {
  /** The text of a file; throws an error that says why it cannot be read. */
  readFile(path: string): string;
  /** A variable of the router's environment. */
  readEnv(name: string): string | undefined;
  /** A text that differs when the file was replaced or changed; `absent` when there is none. */
  stamp(path: string): string;
}

/** Certificate bundles are the largest files read here; a device or a wrong path must not fill memory. */
const MAX_FILE_BYTES = 1024 * 1024;

/** Reads from the machine's files and the given environment. */
export function createSecretReader(env: Readonly<Record<string, string | undefined>>): SecretReader {
  return {
    readFile(path) {
      try {
        const info = statSync(path);
        // A FIFO would block the process until somebody writes to it.
        if (!info.isFile()) throw new EdgeError(ERR_ROUTER_SECRET, 'not a regular file');
        if (info.size > MAX_FILE_BYTES)
          throw new EdgeError(ERR_ROUTER_SECRET, `larger than ${MAX_FILE_BYTES} bytes`);
        return readFileSync(path, 'utf8');
      } catch (err) {
        const reason = errorMessage(err).replace(`${path}: `, '');
        throw new EdgeError(ERR_ROUTER_SECRET, `cannot read ${path}: ${reason}`, { cause: err });
      }
    },
    readEnv: (name) => env[name],
    stamp(path) {
      try {
        const { mtimeMs, size, ino } = statSync(path);
        return `${mtimeMs}:${size}:${ino}`;
      } catch {
        return 'absent'; // gone and unreadable count the same: reading it names the reason
      }
    },
  };
}
