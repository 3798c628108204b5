/** The mesh: a link to each peer, and what the peers' words amount to for each mirror. */
import type { NodeMaintenance, Router } from '../api/gen/types.ts';
import { createGate } from '../apiclient/gate.ts';
import type { Clock } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { Conflicts } from './conflicts.ts';
import { isOnline, originOf } from './kinds.ts';
import type { Claim } from './mirror.ts';
import type { Claims } from './mirrors.ts';
import { createPeerLink } from './peer-link.ts';
import type { PeerLink } from './peer-link.ts';
import type { Peer } from './peers.ts';

/** What a mesh needs from around it. */
export interface MeshDeps {
  clock: Clock;
  random: () => number;
  log: Logger;
  conflicts: Conflicts;
  /** Called with the name of a Router, or a NodeMaintenance ('' for all), whose mirror may have to change. */
  onRouter: (name: string) => void;
  onMaintenance: (name: string) => void;
}

/** Of all peers together; with TLS one takes some milliseconds, and tries of peers that are away go on side by side. */
const REQUESTS_AT_ONCE = { places: 12, holdMs: 250 };

/** The links to all peers. */
export interface Mesh {
  readonly links: ReadonlyMap<string, PeerLink>;
  readonly routers: Claims<Router>;
  readonly maintenances: Claims<NodeMaintenance>;
  /** Follows these peers and no others. A peer whose entry is as before keeps its connection. */
  setPeers(peers: readonly Peer[]): Promise<void>;
  stop(): Promise<void>;
}

/** Creates a mesh without peers. */
export function createMesh(deps: MeshDeps): Mesh {
  const { conflicts, log } = deps;
  const links = new Map<string, PeerLink>();
  const gate = createGate(REQUESTS_AT_ONCE, deps.clock);

  const open = (peer: Peer): PeerLink =>
    createPeerLink(peer, {
      clock: deps.clock,
      random: deps.random,
      log,
      gate,
      onChange: () => deps.onRouter(peer.node),
      onMaintenance: deps.onMaintenance,
      onOtherNames(names) {
        const subject = `peer/${peer.node}`;
        if (names.length === 0) conflicts.clear(subject);
        else
          conflicts.report(
            subject,
            `the API server of peer ${peer.node} also or instead has Routers of its own called ${names.join(', ')}; they are not mirrored. Check --node there, and whether two nodes have one name`,
          );
      },
    });

  return {
    links,
    routers: {
      names: () => links.keys(),
      of(name) {
        const link = links.get(name);
        return link === undefined ? undefined : claimOf(link, link.router());
      },
    },
    maintenances: {
      names: () => new Set([...links.values()].flatMap((link) => [...link.maintenanceNames()])),
      of: (name, mirror) => chooseMaintenance(name, mirror, links),
    },
    async setPeers(peers) {
      const next = new Map(peers.map((peer) => [peer.node, peer]));
      const leaving = [...links.values()].filter((link) => !isSame(next.get(link.peer.node), link.peer));
      for (const link of leaving) {
        links.delete(link.peer.node);
        conflicts.clear(`peer/${link.peer.node}`);
      }
      for (const [node, peer] of next) {
        if (links.has(node)) continue;
        const link = open(peer);
        links.set(node, link);
        link.start();
        log.info('following peer', { peer: node, server: peer.server ?? peer.kubeconfig });
      }
      await Promise.all(leaving.map((link) => link.stop()));
    },
    async stop() {
      const all = [...links.values()];
      links.clear();
      await Promise.all(all.map((link) => link.stop()));
    },
  };
}

function claimOf<T extends Router | NodeMaintenance>(
  link: Pick<PeerLink, 'peer' | 'isReachable' | 'problem'>,
  source: T | undefined | 'unknown',
): Claim<T> {
  const { isReachable, problem } = link;
  return { origin: link.peer.node, source, isReachable, reason: 'PeerUnreachable', problem };
}

/**
 * Several Routers may know one node: its sidecar may register with all of them, or have moved. Of their objects the one
 * counts whose peer answers, then the one that is online, then the one that is mirrored already, so that nothing
 * flaps, then the one that changed last.
 */
export function chooseMaintenance(
  name: string,
  mirror: NodeMaintenance | undefined,
  links: ReadonlyMap<string, Pick<PeerLink, 'peer' | 'maintenance' | 'isReachable' | 'problem'>>,
): Claim<NodeMaintenance> | undefined {
  const current = mirror === undefined ? undefined : originOf(mirror);
  const rank = (claim: Claim<NodeMaintenance>): [number, number, number, string] => {
    // while a peer has not answered, its mirror stands for what it will say
    const object = claim.source === 'unknown' ? mirror : claim.source;
    const changed = object?.status?.services?.[0]?.lastUpdate;
    return [
      claim.isReachable ? 1 : 0,
      isOnline(object) ? 1 : 0,
      claim.origin === current ? 1 : 0,
      typeof changed === 'string' ? changed : '',
    ];
  };
  let best: { claim: Claim<NodeMaintenance>; rank: (number | string)[] } | undefined;
  for (const link of links.values()) {
    const source = link.maintenance(name);
    if (source === undefined || (source === 'unknown' && link.peer.node !== current)) continue;
    const claim = claimOf(link, source);
    const ranked = rank(claim);
    if (best === undefined || isHigher(ranked, best.rank)) best = { claim, rank: ranked };
  }
  if (best !== undefined) return best.claim;
  const link = current === undefined ? undefined : links.get(current);
  return link === undefined ? undefined : claimOf<NodeMaintenance>(link, undefined);
}

function isHigher(a: readonly (number | string)[], b: readonly (number | string)[]): boolean {
  const at = a.findIndex((value, index) => value !== b[index]);
  return at >= 0 && (a[at] ?? 0) > (b[at] ?? 0);
}

function isSame(a: Peer | undefined, b: Peer): boolean {
  return a !== undefined && JSON.stringify(a) === JSON.stringify(b);
}
