// Computes what a mesh and a hub cost with many nodes, from measured costs: each process is a queue with one server that
// takes the measured time for each piece of work, in a run of virtual seconds.

/** How often a Router's status changes: its heartbeat, and services or clients that come and go. */
export const HEARTBEAT_S = 30;
export const CHANGE_EVERY_S = 60;
/** One way between two nodes. */
const NETWORK_S = 0.02;
const RUN_S = 240;
/** What is before this is left out: queues begin empty. */
const WARM_UP_S = 60;
export const SIZES = [10, 100, 1000, 10_000];

/** A small generator (mulberry32): the same figures each time. */
export function generator(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** When the statuses of `count` nodes change during the run, in order. */
export function changes(count, random) {
  const times = [];
  for (let node = 0; node < count; node++) {
    for (let at = random() * HEARTBEAT_S; at < RUN_S; at += HEARTBEAT_S) times.push({ at, node });
    for (
      let at = -Math.log(1 - random()) * CHANGE_EVERY_S;
      at < RUN_S;
      at -= Math.log(1 - random()) * CHANGE_EVERY_S
    )
      times.push({ at, node });
  }
  return times.sort((a, b) => a.at - b.at);
}

/**
 * One server that takes jobs in order; `busy` is the share of its time that other work takes. With `merges` a job whose
 * node waits already joins that one, as a syncer does, so that its queue is never longer than there are nodes.
 */
export function serve(jobs, seconds, busy, merges) {
  const speed = 1 - busy;
  if (speed <= 0) return jobs.map((job) => ({ ...job, done: Infinity }));
  let freeAt = 0;
  const startOf = new Map();
  return jobs.map((job) => {
    const waiting = merges ? startOf.get(job.node) : undefined;
    if (waiting !== undefined && waiting.start > job.at) return { ...job, done: waiting.done };
    const start = Math.max(freeAt, job.at);
    freeAt = start + seconds / speed;
    startOf.set(job.node, { start, done: freeAt });
    return { ...job, done: freeAt };
  });
}

const quantile = (values, share) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))];

function staleness(jobs) {
  const late = jobs
    .filter(({ born }) => born >= WARM_UP_S && born < RUN_S - 60)
    .map(({ born, done }) => done - born);
  return late.length === 0 ? 0 : quantile(late, 0.99);
}

/** A mesh of `count` nodes, seen from one of them: all are alike. */
export function simulateMesh(count, costs, slowdown, random) {
  const { mesh } = costs;
  const peers = count - 1;
  const perSecond = 1 / HEARTBEAT_S + 1 / CHANGE_EVERY_S;
  const syncerRest = peers * mesh.restCpuSyncer * slowdown;
  const serverRest = peers * mesh.restCpuServer * slowdown;
  const deliver = perSecond * (mesh.writeCpu + peers * mesh.deliverCpu) * slowdown;
  const apply = peers * perSecond;
  const jobs = changes(Math.min(peers, count), random).map((job) => ({ ...job, born: job.at }));
  // the sender's API server tells one peer after the other; this node is somewhere among them
  const told = jobs.map((job) => ({
    ...job,
    at: job.at + NETWORK_S + mesh.writeCpu * slowdown + random() * peers * mesh.deliverCpu * slowdown,
  }));
  told.sort((a, b) => a.at - b.at);
  const handled = serve(told, mesh.changeCpuSyncer * slowdown, syncerRest, true).map((job) => ({
    ...job,
    at: job.done,
  }));
  handled.sort((a, b) => a.at - b.at);
  const stored = serve(handled, mesh.changeCpuLocal * slowdown, Math.min(1, serverRest + deliver), false);
  return {
    connections: Math.round(2 * peers * mesh.connectionsPerPeer),
    bytes: peers * 2 * (mesh.restBytes + perSecond * mesh.changeBytes),
    cpu: syncerRest + serverRest + deliver + apply * (mesh.changeCpuSyncer + mesh.changeCpuLocal) * slowdown,
    rss: mesh.rssSyncer + mesh.rssServer + peers * (mesh.rssPerPeerSyncer + mesh.rssPerPeerServer),
    staleness: staleness(stored),
  };
}

/** `count` nodes at a hub: one of them, and the hub. */
export function simulateHub(count, costs, slowdown, random) {
  const { hub, mesh } = costs;
  const perSecond = 1 / HEARTBEAT_S + 1 / CHANGE_EVERY_S;
  const peers = count - 1;
  const hubRest = count * mesh.restCpuServer; // two watches and a probe of a node, as of a peer
  const fanOut = mesh.writeCpu + count * hub.deliverCpu;
  const jobs = changes(count, random).map((job) => ({ ...job, born: job.at, at: job.at + NETWORK_S }));
  const atHub = serve(jobs, fanOut, Math.min(1, hubRest), false).map((job) => ({
    ...job,
    at: job.done + NETWORK_S,
  }));
  const handled = serve(atHub, hub.changeCpuSyncer * slowdown, hub.restCpuSyncer * slowdown, true).map(
    (job) => ({ ...job, at: job.done }),
  );
  handled.sort((a, b) => a.at - b.at);
  const stored = serve(handled, hub.changeCpuLocal * slowdown, 0, false);
  const nodeBytes = hub.restBytes + (peers + 1) * perSecond * hub.changeBytes;
  return {
    connections: hub.connections,
    bytes: nodeBytes,
    cpu:
      hub.restCpuSyncer * slowdown +
      peers * perSecond * (hub.changeCpuSyncer + hub.changeCpuLocal) * slowdown,
    rss: mesh.rssSyncer + mesh.rssServer + peers * OBJECT_BYTES,
    staleness: staleness(stored),
    hub: {
      connections: count * hub.connections,
      bytes: count * nodeBytes,
      cpu: hubRest + count * perSecond * fanOut,
      rss: mesh.rssServer + count * 2 * hub.rssPerWatch + count * OBJECT_BYTES,
    },
  };
}

/** A Router with its status in memory: once in the syncer's copy, once in the API server and its database. */
const OBJECT_BYTES = 3 * 8 * 1024;
