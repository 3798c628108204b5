/** What no patch may change: the name and uid of an object, and a version other than the one it is meant for. */
import type { KubeObject } from '../../api/meta.ts';
import { badRequest } from '../../api/status.ts';
import type { Call } from './context.ts';
import { checkVersion, immutable, unnamed } from './write.ts';

/** A patch may carry the identity of what it patches, but not another one. Throws a 400, 409 or 422 Status. */
export function checkUnchanged(call: Call, current: KubeObject, next: KubeObject): void {
  const name = current.metadata.name ?? '';
  if ((next.metadata.name ?? '') === '') throw unnamed(name);
  if (next.metadata.name !== name) {
    throw badRequest(
      `the name of the object (${next.metadata.name}) does not match the name on the URL (${name})`,
    );
  }
  if ((next.metadata.uid ?? '') !== '' && next.metadata.uid !== current.metadata.uid) {
    throw immutable(call, name, 'metadata.uid', next.metadata.uid);
  }
  // a patch that carries a version is meant for that version only
  const wanted = next.metadata.resourceVersion ?? '';
  if (wanted !== '') checkVersion(call, current, wanted);
}
