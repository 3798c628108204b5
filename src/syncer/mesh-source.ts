/** Mirrors from a mesh of peers: a fixed list, or a file that is read again when it changes. */
import { stat } from 'node:fs/promises';
import type { Timer } from '../lib/clock.ts';
import { EdgeError, errorMessage } from '../lib/errors.ts';
import { createMesh } from './mesh.ts';
import { readPeersFile } from './peers.ts';
import type { Peer } from './peers.ts';
import type { Source, SourceDeps } from './source.ts';

const FILE_CHECK_MS = 2000;

/** Creates the source. Throws UsageError when the peers file is wrong. */
export function createMeshSource(peers: readonly Peer[] | string, deps: SourceDeps): Source {
  const { clock, log, node } = deps;
  const mesh = createMesh(deps);
  const first = ownLeftOut(typeof peers === 'string' ? readPeersFile(peers) : peers);
  let fileTimer: Timer | undefined;
  let fileStamp: number | undefined;

  function ownLeftOut(list: readonly Peer[]): Peer[] {
    // one list may serve all nodes
    return list.filter((peer) => peer.node !== node);
  }

  async function setPeers(list: readonly Peer[]): Promise<void> {
    const done = mesh.setPeers(list);
    deps.onRouter('');
    deps.onMaintenance('');
    await done;
  }

  async function readFileAgain(path: string): Promise<void> {
    const stamp = await fileStampOf(path);
    const list = ownLeftOut(readPeersFile(path));
    fileStamp = stamp;
    await setPeers(list);
  }

  async function checkFile(path: string): Promise<void> {
    const stamp = await fileStampOf(path);
    if (stamp === fileStamp) return;
    fileStamp = stamp; // a wrong file is reported once, not at every look
    await readFileAgain(path);
  }

  return {
    routers: mesh.routers,
    maintenances: mesh.maintenances,
    links: () => mesh.links.values(),
    async start() {
      await setPeers(first);
      if (typeof peers !== 'string') return;
      fileStamp = await fileStampOf(peers);
      fileTimer = clock.every(FILE_CHECK_MS, () => {
        checkFile(peers).catch((err: unknown) => {
          log.error('peers file not accepted, keeping the old list', { error: errorMessage(err) });
        });
      });
    },
    async reload() {
      if (typeof peers === 'string') await readFileAgain(peers);
    },
    async stop() {
      fileTimer?.cancel();
      await mesh.stop();
    },
  };
}

async function fileStampOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).mtimeMs;
  } catch (err) {
    throw new EdgeError('EDGE_ERR_SYNCER_PEERS', `peers file: ${errorMessage(err)}`, { cause: err });
  }
}
