/** Mirrors from a mesh of peers: a fixed list, or a file that is read again when it changes. */
import { errorMessage } from '../lib/errors.ts';
import { createFileWatch } from '../lib/file-watch.ts';
import { createMesh } from './mesh.ts';
import { readPeersFile } from './peers.ts';
import type { Peer } from './peers.ts';
import type { Source, SourceDeps } from './source.ts';

/** Creates the source. Throws UsageError when the peers file is wrong. */
export function createMeshSource(peers: readonly Peer[] | string, deps: SourceDeps): Source {
  const { clock, log, node } = deps;
  const path = typeof peers === 'string' ? peers : undefined;
  const mesh = createMesh(deps);
  const first = ownLeftOut(typeof peers === 'string' ? readPeersFile(peers) : peers);
  let isStopped = false;

  function ownLeftOut(list: readonly Peer[]): Peer[] {
    // one list may serve all nodes
    return list.filter((peer) => peer.node !== node);
  }

  async function setPeers(list: readonly Peer[]): Promise<void> {
    if (isStopped) return;
    const done = mesh.setPeers(list);
    deps.onRouter('');
    deps.onMaintenance('');
    await done;
  }

  const readAgain = async (): Promise<void> => {
    if (path !== undefined) await setPeers(ownLeftOut(readPeersFile(path)));
  };
  const readOrKeep = (): Promise<void> =>
    readAgain().catch((err: unknown) =>
      log.error('peers file not accepted, keeping the old list', { error: errorMessage(err) }),
    );
  const file = createFileWatch(clock, () => void readOrKeep());

  return {
    routers: mesh.routers,
    maintenances: mesh.maintenances,
    links: () => mesh.links.values(),
    async start() {
      await setPeers(first);
      if (path === undefined) return;
      await file.watch([path]);
      await readOrKeep(); // it may have changed since it was read first
    },
    reload: readAgain,
    async stop() {
      isStopped = true;
      file.stop();
      await mesh.stop();
    },
  };
}
