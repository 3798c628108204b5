/** Writes the status of a Router object; safe to repeat, the last write wins. */
import { ROUTERS } from '../api/edge.ts';
import type { RouterStatus } from '../api/gen/types.ts';
import type { ApiClient } from '../apiclient/client.ts';
import { isConflict } from '../apiclient/errors.ts';

/** Another writer may change the object under a patch; the same patch is right for the new version too. */
const MAX_CONFLICTS = 5;

/** Creates the function that the router writes with: a merge patch of the status subresource (RFC 7386). */
export function createStatusWriter(
  client: Pick<ApiClient, 'patch'>,
): (node: string, status: RouterStatus, signal: AbortSignal) => Promise<void> {
  return async (node, status, signal) => {
    for (let conflicts = 0; ; conflicts++) {
      try {
        await client.patch(ROUTERS, node, { status }, { type: 'merge', subresource: 'status', signal });
        return;
      } catch (err) {
        if (!isConflict(err) || conflicts >= MAX_CONFLICTS) throw err;
      }
    }
  };
}
