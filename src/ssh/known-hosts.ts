/** known_hosts files in OpenSSH's format (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): which keys a host may have. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { appendFile, mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode, errorMessage, UsageError } from '../lib/errors.ts';

/** One line of the file. */
export interface KnownHost {
  /** From 1. */
  line: number;
  marker: 'revoked' | 'cert-authority' | undefined;
  /** Comma-separated patterns, or one hashed name. */
  hosts: string;
  type: string;
  /** Base64. */
  key: string;
}

/** A known_hosts file. */
export interface KnownHosts {
  readonly path: string;
  /** The lines that speak of a host, in the order of the file. */
  find(host: string): KnownHost[];
  /** Adds a line; the file is made when it is missing, for nobody else to read. `key` is `TYPE BASE64`. */
  add(host: string, key: string): Promise<void>;
}

const LINE = /^(?:@(revoked|cert-authority)\s+)?(\S+)\s+([-a-z0-9@.]+)\s+([A-Za-z0-9+/]+={0,2})(?:\s|$)/u;

/** Reads a known_hosts file; one that does not exist is empty. Throws UsageError when it cannot be read. */
export async function openKnownHosts(path: string): Promise<KnownHosts> {
  let text = '';
  try {
    text = await readFile(path, 'utf8');
  } catch (err) {
    if (errorCode(err) !== 'ENOENT')
      throw new UsageError(`known hosts: ${errorMessage(err)}`, { cause: err });
  }
  const entries = parseKnownHosts(text);
  let lines = text === '' ? 0 : text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
  let separator = text === '' || text.endsWith('\n') ? '' : '\n';
  let written: Promise<void> = Promise.resolve();
  return {
    path,
    find: (host) => entries.filter((entry) => matchesHost(entry.hosts, host)),
    async add(host, key) {
      const [type = '', blob = ''] = key.split(' ');
      entries.push({ line: ++lines, marker: undefined, hosts: host, type, key: blob });
      const added = `${separator}${host} ${key}\n`;
      separator = '';
      const append = async (): Promise<void> => {
        await mkdir(dirname(path), { recursive: true, mode: 0o700 });
        await appendFile(path, added, { mode: 0o600 });
      };
      // one after the other: lines keep the numbers that were given out, and the separator comes first
      const done = written.then(append);
      written = done.catch(() => {});
      await done;
    },
  };
}

/** The entries of a file. Lines that make no sense are passed over, as OpenSSH does. */
export function parseKnownHosts(text: string): KnownHost[] {
  return text.split('\n').flatMap((content, index) => {
    const match = LINE.exec(content.trim());
    if (match === null || content.trimStart().startsWith('#')) return [];
    const [, marker, hosts = '', type = '', key = ''] = match;
    return [{ line: index + 1, marker: marker as KnownHost['marker'], hosts, type, key }];
  });
}

/** Whether the first field of a line speaks of a host: patterns with `*`, `?` and `!`, or a hash of the name. */
export function matchesHost(hosts: string, host: string): boolean {
  const [, salt, hash] = /^\|1\|([^|]+)\|([^|]+)$/u.exec(hosts) ?? [];
  if (salt !== undefined && hash !== undefined) {
    // the format fixes SHA-1 (OpenSSH hostfile.c); it hides names and protects nothing
    const made = createHmac('sha1', Buffer.from(salt, 'base64')).update(host).digest();
    const wanted = Buffer.from(hash, 'base64');
    return made.length === wanted.length && timingSafeEqual(made, wanted);
  }
  const name = host.toLowerCase();
  let isMatch = false;
  for (const pattern of hosts.toLowerCase().split(',')) {
    const isNegated = pattern.startsWith('!');
    if (!matchesPattern(isNegated ? pattern.slice(1) : pattern, name)) continue;
    if (isNegated) return false;
    isMatch = true;
  }
  return isMatch;
}

function matchesPattern(pattern: string, name: string): boolean {
  const source = pattern.replace(/[*?]|[\\^$.+|()[\]{}]/gu, (char) =>
    char === '*' ? '.*' : char === '?' ? '.' : `\\${char}`,
  );
  return new RegExp(`^${source}$`, 'su').test(name);
}
