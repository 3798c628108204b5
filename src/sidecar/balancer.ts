/** Which Router carries a new connection: an order to try them in, after a policy. Pure but for its turn counters. */
import { createHash } from 'node:crypto';
import { unreachable } from '../lib/errors.ts';

/** How Routers share the connections of a service. */
export const LB_POLICIES = ['roundRobin', 'leastConnections', 'random', 'latency', 'sourceHash'] as const;
/** A policy. */
export type LbPolicy = (typeof LB_POLICIES)[number];

/** A Router that could carry the connection. */
export interface Choice {
  name: string;
  /** Lower tiers are all tried before higher ones. */
  tier: number;
  /** Open connections of the service that this sidecar has through it. */
  connections: number;
  roundTripMs: number | undefined;
}

/** Orders the Routers of one service. */
export interface Balancer {
  /** Best first; `sourceIp` is the application's. The input's order decides between equals. */
  order<T extends Choice>(choices: readonly T[], policy: LbPolicy | 'inOrder', sourceIp: string): T[];
}

/** Creates the balancer of one service. */
export function createBalancer(random: () => number): Balancer {
  let turn = 0;
  return {
    order(choices, policy, sourceIp) {
      const tiers = new Map<number, (typeof choices)[number][]>();
      for (const choice of choices) tiers.set(choice.tier, [...(tiers.get(choice.tier) ?? []), choice]);
      const sorted = [...tiers].sort(([a], [b]) => a - b);
      const start = turn++;
      return sorted.flatMap(([, tier]) => orderTier(tier, policy, { start, sourceIp, random }));
    },
  };
}

interface Turn {
  start: number;
  sourceIp: string;
  random: () => number;
}

function orderTier<T extends Choice>(
  tier: T[],
  policy: LbPolicy | 'inOrder',
  { start, sourceIp, random }: Turn,
): T[] {
  switch (policy) {
    case 'inOrder':
      return tier;
    case 'roundRobin':
      return rotated(tier, start);
    case 'random':
      return rotated(tier, Math.floor(random() * tier.length));
    case 'leastConnections': // equals take turns, else the first Router gets every connection of a quiet service
      return rotated(tier, start).sort((a, b) => a.connections - b.connections);
    case 'latency':
      return tier.toSorted((a, b) => (a.roundTripMs ?? Infinity) - (b.roundTripMs ?? Infinity) || 0);
    case 'sourceHash': {
      const weights = new Map(tier.map(({ name }) => [name, weigh(sourceIp, name)]));
      return tier.toSorted((a, b) => (weights.get(b.name) ?? 0) - (weights.get(a.name) ?? 0));
    }
    default:
      return unreachable(policy);
  }
}

function rotated<T>(list: readonly T[], by: number): T[] {
  const at = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

/** Rendezvous hashing: when a Router goes, only its own sources move. */
function weigh(sourceIp: string, router: string): number {
  return createHash('sha256').update(`${sourceIp} ${router}`).digest().readUInt32BE(0);
}
