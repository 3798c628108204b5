/** What no patch may change: the name and uid of an object, and a version other than the one it is meant for. */
import type { KubeObject } from '../../api/meta.ts';
import { badRequest, conflict, STALE } from '../../api/status.ts';
import type { Call } from './context.ts';
import { immutable } from './write.ts';

/** A patch may carry the identity of what it patches, but not another one. Throws a 400, 409 or 422 Status. */
export function checkUnchanged(call: Call, current: KubeObject, next: KubeObject): void {
  const { resource } = call;
  const name = current.metadata.name ?? '';
  if (next.metadata.name !== name) {
    throw badRequest(
      `the name of the object (${next.metadata.name ?? ''}) does not match the name on the URL (${name})`,
    );
  }
  if ((next.metadata.uid ?? '') !== '' && next.metadata.uid !== current.metadata.uid) {
    throw immutable(call, name, 'metadata.uid', next.metadata.uid);
  }
  // a patch that carries a version is meant for that version only
  const wanted = next.metadata.resourceVersion ?? '';
  if (wanted !== '' && wanted !== current.metadata.resourceVersion) throw conflict(resource, name, STALE);
}
