/** Picks a provider for each visitor that asks for a service; looks only at the providers of that service. */
import type { ProxyInfo, TargetRequest } from '../tunnel/frps/types.ts';
import type { BalancingPolicy } from './config.ts';
import { groupServices } from './services.ts';

/** A provider as the index holds it. */
interface Candidate {
  name: string;
  hash: number;
  /** Where it runs; empty when it did not say. */
  node: string;
  /** Round trip to its client when the index was made, milliseconds. */
  roundTripMs: number;
  /** Open connections when the index was made, and those sent there since. */
  load: number;
}

/** What the balancer needs. */
export interface BalancerDeps {
  /** Lists the proxies; called at most once a change, never once a connection. */
  proxies: () => readonly ProxyInfo[];
  /** Monotonic milliseconds. */
  now: () => number;
  random: () => number;
}

/** How old the index may be while proxies change under it: bounds the work a busy server spends on it. */
const MAX_STALE_MS = 50;

/** Draws before `random` looks at every provider: enough unless most of them refuse the visitor. */
const MAX_DRAWS = 8;

/** A client that was not measured yet is taken for a distant one. */
const UNMEASURED_MS = 1000;
/**
 * Round trips are compared in steps of a power of two: providers that are about as far away share the connections, where
 * the noise of one measurement would decide for all of them.
 */
const roundTripStep = ({ roundTripMs }: Candidate): number => Math.round(Math.log2(Math.max(roundTripMs, 1)));

/** What the smallest is wanted of; the other policies do not compare. */
const MEASURES: Readonly<Partial<Record<BalancingPolicy, (candidate: Candidate) => number>>> = {
  leastConnections: ({ load }) => load,
  latency: roundTripStep,
};

/** Spreads connections over the providers of services by one policy. */
export class Balancer {
  policy: BalancingPolicy = 'roundRobin';
  readonly #deps: BalancerDeps;
  #index = new Map<string, Candidate[]>();
  #turns = new Map<string, number>();
  #isStale = true;
  #indexedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: BalancerDeps) {
    this.#deps = deps;
  }

  /** Notes that proxies may have changed; the index follows with the next request. */
  invalidate(): void {
    this.#isStale = true;
  }

  /**
   * The proxy to use for `[USER.]SERVICE.NAMESPACE[:PORT][/tcp|/udp]`, or undefined when no provider admits
   * the visitor. Without a protocol TCP is meant, and UDP where the service has only that.
   */
  pick(request: TargetRequest): string | undefined {
    if (this.#isStale && this.#deps.now() - this.#indexedAt >= MAX_STALE_MS) this.#refresh();
    const picked = this.#pickIndexed(request);
    if (picked !== undefined || !this.#isStale) return picked;
    this.#refresh(); // the provider may have registered within the last moments
    return this.#pickIndexed(request);
  }

  #pickIndexed(request: TargetRequest): string | undefined {
    const name = request.name.toLowerCase();
    const keys = /\/(?:tcp|udp)$/u.test(name) ? [name] : [`${name}/tcp`, `${name}/udp`];
    for (const key of keys) {
      const candidates = this.#index.get(key);
      if (candidates === undefined) continue;
      const chosen = this.#choose(key, candidates, request);
      if (chosen === undefined) continue;
      chosen.load++;
      return chosen.name;
    }
    return undefined;
  }

  /** On the visitor's node first, then anywhere; what the visitor had no luck with only when there is nothing else. */
  #choose(key: string, candidates: readonly Candidate[], request: TargetRequest): Candidate | undefined {
    const { preferNode, avoid } = request;
    const isWelcome = ({ name }: Candidate): boolean => !avoid.has(name) && request.admits(name);
    const isNear = (candidate: Candidate): boolean => candidate.node === preferNode && isWelcome(candidate);
    return (
      (preferNode === '' ? undefined : this.#balance(key, candidates, request, isNear)) ??
      this.#balance(key, candidates, request, isWelcome) ??
      (avoid.size === 0
        ? undefined
        : this.#balance(key, candidates, request, ({ name }) => request.admits(name)))
    );
  }

  #balance(
    key: string,
    candidates: readonly Candidate[],
    request: TargetRequest,
    admits: (candidate: Candidate) => boolean,
  ): Candidate | undefined {
    if (this.policy === 'sourceHash')
      return highestRank(candidates, hashText(hostOf(request.sourceAddr)), admits);
    if (this.policy === 'random') return this.#draw(candidates, admits);
    const turn = this.#turns.get(key) ?? 0;
    // Equal loads take turns too, or the first provider would get every connection of an idle service.
    const ordered = rotated(candidates, turn);
    const measure = MEASURES[this.policy];
    const chosen = measure === undefined ? first(ordered, admits) : least(ordered, measure, admits);
    if (chosen !== undefined) this.#turns.set(key, candidates.indexOf(chosen) + 1);
    return chosen;
  }

  #draw(candidates: readonly Candidate[], admits: (candidate: Candidate) => boolean): Candidate | undefined {
    const at = (list: readonly Candidate[]) => list[Math.floor(this.#deps.random() * list.length)];
    for (let draw = 0; draw < MAX_DRAWS; draw++) {
      const candidate = at(candidates);
      if (candidate !== undefined && admits(candidate)) return candidate;
    }
    return at(candidates.filter(admits));
  }

  #refresh(): void {
    const index = new Map<string, Candidate[]>();
    const add = (key: string, candidate: Candidate): void => {
      const list = index.get(key);
      if (list === undefined) index.set(key, [candidate]);
      else list.push(candidate);
    };
    for (const group of groupServices(this.#deps.proxies())) {
      const protocol = group.protocol.toLowerCase();
      for (const { proxy, identity } of group.providers) {
        if (!identity.isReady) continue;
        if (proxy.type !== 'stcp' && proxy.type !== 'sudp') continue; // others have no visitors that come this way
        const candidate = {
          name: proxy.name,
          hash: hashText(proxy.name),
          node: identity.node,
          roundTripMs: proxy.roundTripMs ?? UNMEASURED_MS,
          load: proxy.connections,
        };
        const service = `${group.name}.${group.namespace}`;
        // A visitor with a user asks under that user's prefix.
        for (const name of proxy.user === ''
          ? [service]
          : [service, `${proxy.user.toLowerCase()}.${service}`]) {
          add(`${name}/${protocol}`, candidate);
          if (group.targetPort !== undefined) add(`${name}:${group.targetPort}/${protocol}`, candidate);
        }
      }
    }
    for (const key of this.#turns.keys()) if (!index.has(key)) this.#turns.delete(key);
    this.#index = index;
    this.#isStale = false;
    this.#indexedAt = this.#deps.now();
  }
}

function* rotated(candidates: readonly Candidate[], turn: number): Generator<Candidate> {
  for (let step = 0; step < candidates.length; step++) {
    const candidate = candidates[(turn + step) % candidates.length];
    if (candidate !== undefined) yield candidate;
  }
}

function first(
  candidates: Iterable<Candidate>,
  admits: (candidate: Candidate) => boolean,
): Candidate | undefined {
  for (const candidate of candidates) if (admits(candidate)) return candidate;
  return undefined;
}

function least(
  candidates: Iterable<Candidate>,
  measure: (candidate: Candidate) => number,
  admits: (candidate: Candidate) => boolean,
): Candidate | undefined {
  let best: Candidate | undefined;
  for (const candidate of candidates) {
    if ((best === undefined || measure(candidate) < measure(best)) && admits(candidate)) best = candidate;
  }
  return best;
}

/**
 * Rendezvous hashing: each provider ranks itself for the source, the highest wins. When one provider goes,
 * only its own sources move.
 */
function highestRank(
  candidates: readonly Candidate[],
  source: number,
  admits: (candidate: Candidate) => boolean,
): Candidate | undefined {
  let best: Candidate | undefined;
  let bestRank = -1;
  for (const candidate of candidates) {
    const rank = mix(source ^ candidate.hash);
    if (rank > bestRank && admits(candidate)) {
      best = candidate;
      bestRank = rank;
    }
  }
  return best;
}

/** The host of `host:port` or `[v6]:port`: a user's next connection comes from another port. */
function hostOf(address: string): string {
  const match = /^(?:\[([^\]]+)\]|([^:]*))(?::\d+)?$/u.exec(address);
  return match?.[1] ?? match?.[2] ?? address;
}

/** FNV-1a, 32 bits, finished by mix(). */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return mix(hash);
}

/** The finalizer of MurmurHash3: spreads each input bit over the whole word. */
function mix(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
