/** Bearer tokens from a file in kube-apiserver's format: `token,user,uid,"group,group"`; compared in constant time. */
import { createHash, timingSafeEqual } from 'node:crypto';
import { UsageError } from '../../lib/errors.ts';
import { rolesOfGroups } from './roles.ts';
import type { Identity } from './roles.ts';

/** Finds the identity of a token; undefined when it is unknown. */
export type TokenLookup = (token: string) => Identity | undefined;

/** Splits a CSV line; quotes hide commas, a doubled quote is one. */
function splitCsv(line: string): string[] {
  const fields: string[] = [];
  const pattern = /\s*(?:"((?:[^"]|"")*)"|([^,]*))\s*(?:,|$)/gu;
  let end = 0;
  while (end <= line.length) {
    pattern.lastIndex = end;
    const match = pattern.exec(line);
    if (match === null) break;
    fields.push(match[1]?.replaceAll('""', '"') ?? (match[2] ?? '').trim());
    end = pattern.lastIndex;
    if (line[end - 1] !== ',') break;
  }
  return fields;
}

function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

/** Parses a token file; throws UsageError that names file and line, never the token. */
export function parseTokenFile(text: string, path: string): TokenLookup {
  const entries: { digest: Buffer; identity: Identity }[] = [];
  for (const [at, line] of text.split(/\r?\n/u).entries()) {
    if (line.trim() === '' || line.startsWith('#')) continue;
    const [token = '', username = '', uid = '', groupList = ''] = splitCsv(line);
    if (token === '' || username === '') {
      throw new UsageError(`${path}:${at + 1}: wanted token,user,uid,"group,group" with a token and a user`);
    }
    const groups = groupList
      .split(',')
      .map((group) => group.trim())
      .filter((group) => group !== '');
    const identity: Identity = {
      username,
      ...(uid === '' ? {} : { uid }),
      groups: [...groups, 'system:authenticated'],
      roles: rolesOfGroups(groups),
    };
    entries.push({ digest: digest(token), identity });
  }
  return (token) => {
    // equal-length digests, and every entry is looked at: time tells nothing about a token
    const wanted = digest(token);
    let found: Identity | undefined;
    for (const entry of entries) if (timingSafeEqual(entry.digest, wanted)) found = entry.identity;
    return found;
  };
}
