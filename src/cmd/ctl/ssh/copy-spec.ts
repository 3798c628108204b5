/** The arguments of `edge ctl cp`: `[USER@]NODE:PATH` on a node, anything else here. Pure. */
import { UsageError } from '../../../lib/errors.ts';
import { parseNode } from './settings.ts';

/** A place that an argument names. */
export interface CopyPlace {
  /** Undefined for this machine. */
  node: string | undefined;
  user: string | undefined;
  path: string;
}

/** A colon before the first slash makes it a node's, as with scp; `./a:b` is a file here. */
export function parsePlace(text: string): CopyPlace {
  const colon = text.indexOf(':');
  const slash = text.indexOf('/');
  if (colon === -1 || (slash !== -1 && slash < colon)) {
    if (text === '') throw new UsageError('cp: an empty path');
    return { node: undefined, user: undefined, path: text };
  }
  const { user, node } = parseNode(text.slice(0, colon));
  if (node === '') throw new UsageError(`cp: "${text}" names no node`);
  // the session begins in the home directory
  const path = text.slice(colon + 1).replace(/^~(?:\/+|$)/u, '');
  return { node, user, path: path === '' ? '.' : path };
}
