/**
 * Follows an unmodified frps by its dashboard API. Level-triggered: each round compares what the frps has with what the
 * objects say, so after a gap, a restart of either side or a write of somebody else nothing stays wrong.
 */
import { Backoff } from '../../lib/backoff.ts';
import type { Clock } from '../../lib/clock.ts';
import { sleep } from '../../lib/clock.ts';
import { errorMessage } from '../../lib/errors.ts';
import type { Component } from '../../lib/lifecycle.ts';
import type { Logger } from '../../lib/log.ts';
import { Counter, Gauge } from '../../lib/metrics.ts';
import type { Registry } from '../../lib/metrics.ts';
import type { FrpsGet } from './frps-client.ts';
import {
  isFollowed,
  readBindPort,
  readProxies,
  seen,
  sightingsOf,
  stateOf,
  unseen,
} from './frps-sightings.ts';
import type { Sightings } from './frps-sightings.ts';
import type { NodeWriter } from './node-writer.ts';
import type { Cause } from './objects.ts';

/** What is followed. */
export interface FollowerConfig {
  /** Where operators reach the frps; objects carry it. */
  address: string;
  /** Time between two rounds while it answers, milliseconds. */
  intervalMs: number;
}

/** What it needs. */
export interface FollowerDeps {
  nodes: NodeWriter;
  get: FrpsGet;
  clock: Clock;
  random: () => number;
  log: Logger;
  registry: Registry;
}

/** Tries of a frps that does not answer, milliseconds; jittered. */
const RETRY = { initialMs: 500, maxMs: 5000 };
/** A frps that has been silent for so long has no nodes any more, milliseconds. */
const SILENT_MS = 10_000;
const GONE: Cause = { reason: 'ProxyOffline', message: 'the frps has no proxy of the node' };

/** Creates the follower. */
export function createFrpsFollower(config: FollowerConfig, deps: FollowerDeps): Component {
  const { nodes, get, clock, log } = deps;
  const { address } = config;
  const abort = new AbortController();
  const backoff = new Backoff(RETRY, deps.random);
  const metrics = createMetrics(deps, address);
  let failingSince: number | undefined;
  let running: Promise<void> | undefined;

  const look = async (): Promise<Sightings> => {
    const info = await get('/api/serverinfo', abort.signal);
    const server = { address, bindPort: readBindPort(info) };
    const [tcp, stcp] = await Promise.all([
      get('/api/proxy/tcp', abort.signal),
      get('/api/proxy/stcp', abort.signal),
    ]);
    return sightingsOf([...readProxies(tcp, 'tcp', server), ...readProxies(stcp, 'stcp', server)]);
  };

  /** Brings the objects in line with what the frps has; `cause` is why the others are offline. */
  const converge = async (sightings: Sightings, cause: Cause): Promise<void> => {
    const now = clock.wallNow();
    const names = new Set(sightings.keys());
    for (const object of nodes.list()) if (isFollowed(object, address)) names.add(object.metadata.name ?? '');
    for (const name of names) {
      if (abort.signal.aborted) return;
      const report = sightings.get(name);
      const plan = (current: ReturnType<NodeWriter['get']>) =>
        report === undefined ? unseen(current, address, cause, now) : seen(current, report, now);
      const before = nodes.get(name);
      if (plan(before) === before) continue;
      const { object, isChanged } = await nodes.write(name, plan);
      if (isChanged && object !== undefined)
        log.info('node of the frps', { node: object.spec.nodeName, object: name, state: stateOf(object) });
    }
  };

  const round = async (): Promise<number> => {
    let sightings: Sightings;
    try {
      sightings = await look();
    } catch (err) {
      if (abort.signal.aborted) return 0;
      metrics.polls.inc({ outcome: 'failed' });
      metrics.up.set(0);
      const now = clock.now();
      const error = errorMessage(err);
      if (failingSince === undefined) log.warn('frps cannot be followed, retrying', { error });
      else log.debug('frps cannot be followed', { error });
      failingSince ??= now;
      if (now - failingSince >= SILENT_MS) {
        metrics.online.set(0);
        const message = `the frps has not answered for ${SILENT_MS / 1000}s: ${error}`;
        await converge(new Map(), { reason: 'FrpServerUnreachable', message });
      }
      return backoff.next();
    }
    metrics.polls.inc({ outcome: 'ok' });
    metrics.up.set(1);
    metrics.online.set(sightings.size);
    if (failingSince !== undefined)
      log.info('frps is followed again', { seconds: Math.round((clock.now() - failingSince) / 1000) });
    failingSince = undefined;
    backoff.reset();
    await converge(sightings, GONE);
    return config.intervalMs;
  };

  const run = async (): Promise<void> => {
    log.info('following a frps', { address, everyMs: config.intervalMs });
    while (!abort.signal.aborted) {
      let waitMs: number;
      try {
        waitMs = await round();
      } catch (err) {
        log.error('cannot write the nodes of the frps, retrying', { error: errorMessage(err) });
        waitMs = backoff.next();
      }
      await sleep(clock, waitMs, abort.signal);
    }
  };

  return {
    start() {
      running ??= abort.signal.aborted ? undefined : run();
      return Promise.resolve();
    },
    async stop() {
      abort.abort();
      await running;
    },
  };
}

function createMetrics({ registry }: FollowerDeps, address: string) {
  const registers = [registry];
  const up = new Gauge({
    name: 'edge_adapter_frps_up',
    help: 'Whether the followed frps answered when it was last asked.',
    labelNames: ['address'],
    registers,
  });
  const online = new Gauge({
    name: 'edge_adapter_frps_nodes',
    help: 'Nodes that the followed frps has.',
    labelNames: ['address'],
    registers,
  });
  const polls = new Counter({
    name: 'edge_adapter_frps_polls_total',
    help: 'Rounds in which the frps was asked, by outcome.',
    labelNames: ['outcome'],
    registers,
  });
  const of = (gauge: Gauge<'address'>) => ({ set: (value: number) => gauge.set({ address }, value) });
  of(up).set(0);
  return { up: of(up), online: of(online), polls };
}
