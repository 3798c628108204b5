/** Where a node's state lives when nothing says otherwise. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** /var/lib/edge for root, else the XDG state directory. */
export function defaultDataDir(env: NodeJS.ProcessEnv, uid: number | undefined = process.getuid?.()): string {
  if (uid === 0) return '/var/lib/edge';
  return join(env['XDG_STATE_HOME'] ?? join(env['HOME'] ?? homedir(), '.local', 'state'), 'edge');
}
