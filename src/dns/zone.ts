/**
 * The names this responder owns: mapped services and their addresses.
 *
 * It never claims the whole cluster domain: a name is answered only when it is a mapped one, lies below a mapped one, or
 * is what a resolver's search list makes out of one. A lookup costs a few table reads whatever the number of names.
 */
import { isIP } from 'node:net';
import { EdgeError } from '../lib/errors.ts';
import { encodeName, labelOffsets } from './names.ts';
import { emptyReply, EXTENDED_ERROR, RCODE, TYPE } from './wire.ts';
import { encodeRecord, negativeReply, positiveReply, QUESTION_OWNER } from './zone-records.ts';
import type { Query, Reply } from './wire.ts';

/** A port of a mapped service. */
export interface ZonePort {
  name?: string;
  /** 1 to 65535. */
  port: number;
  protocol: 'tcp' | 'udp';
}

/** A mapped service. */
export interface ZoneEntry {
  /** The service's name, one label. */
  name: string;
  /** The service's namespace, one label. */
  namespace: string;
  /** IPv4. */
  address: string;
  ports: readonly ZonePort[];
  /** False answers SERVFAIL: the name exists, its listeners do not yet. */
  isReady: boolean;
  /** Further names that answer with its address, such as the bare name of a service in another namespace. */
  aliases?: readonly string[];
}

/** Configuration of a zone. */
export interface ZoneConfig {
  /** Suffix of `svc` names, `cluster.local` by default elsewhere. */
  clusterDomain: string;
  /** Where bare names resolve. */
  namespace: string;
  /** Time to live of every record, seconds. */
  ttlSeconds: number;
}

/** Owned names; safe to replace while queries are answered. */
export interface Zone {
  /** Makes these the only entries, all or nothing; EDGE_ERR_DNS_ENTRY when one is wrong, see `zoneEntryProblem`. */
  replace(entries: readonly ZoneEntry[]): void;
  /** The reply to a query of class IN, or undefined when the name is not ours. */
  lookup(query: Query): Reply | undefined;
  /** The reply to a name that is not ours when there is no upstream: NXDOMAIN inside the cluster domain, else REFUSED. */
  outside(query: Query): Reply;
  /** Number of entries. */
  readonly size: number;
  /** Another one whenever a reply may have become another. */
  readonly version: number;
}

const LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/iu;

/** What is wrong with an entry, or undefined. */
export function zoneEntryProblem(entry: ZoneEntry): string | undefined {
  const id = `${entry.name}.${entry.namespace}`;
  if (!LABEL.test(entry.name)) return `service name "${entry.name}" is not a DNS label`;
  if (!LABEL.test(entry.namespace))
    return `namespace "${entry.namespace}" of "${entry.name}" is not a DNS label`;
  if (isIP(entry.address) !== 4) return `address "${entry.address}" of ${id} is not an IPv4 address`;
  const badPort = entry.ports.find(({ port }) => !Number.isInteger(port) || port < 1 || port > 65_535);
  if (badPort !== undefined) return `port ${badPort.port} of ${id} is not between 1 and 65535`;
  const badAlias = entry.aliases?.find((alias) => encodeName(alias) === undefined);
  return badAlias === undefined ? undefined : `alias "${badAlias}" of ${id} is not a domain name`;
}

/** Creates an empty zone; EDGE_ERR_DNS_ENTRY when the cluster domain is not a domain name. */
export function createZone(config: ZoneConfig): Zone {
  return new ServiceZone(config);
}

// What one name stands for. Forms with "svc" own what is below them; a bare name such as "dev" may also be a real
// top-level domain, so the names below it are left to the upstreams.
interface Node {
  readonly kind: 'service' | 'reverse';
  readonly entry: ZoneEntry;
  readonly ownsBelow: boolean;
  /** Replies built so far, by type; NODATA under -1. Most names are never asked for and have none. */
  replies: Map<number, Reply> | undefined;
}

const NODATA = -1;
const SVC = wireName('svc');
const REVERSE = wireName('in-addr.arpa');
const LOOPBACK_REVERSE = wireName('127.in-addr.arpa');

function wireName(text: string): string {
  const name = encodeName(text);
  if (name === undefined) throw new EdgeError('EDGE_ERR_DNS_ENTRY', `"${text}" is not a domain name`);
  return name;
}

function wireLabel(label: string): string {
  return String.fromCharCode(label.length) + label.toLowerCase();
}

class ServiceZone implements Zone {
  readonly #config: ZoneConfig;
  readonly #domain: string;
  readonly #domainLabels: number;
  readonly #svcDomain: string;
  /** What a search list appends, longest first. */
  readonly #suffixes: readonly string[];
  #nodes = new Map<string, Node>();
  /** Names above mapped ones: they exist, without records (RFC 8020). */
  #ancestors = new Set<string>();
  #serial = 0;
  #size = 0;

  constructor(config: ZoneConfig) {
    this.#config = config;
    this.#domain = wireName(config.clusterDomain);
    this.#domainLabels = labelOffsets(this.#domain).length;
    this.#svcDomain = wireName(`svc.${config.clusterDomain}`);
    this.#suffixes = [
      wireName(`${config.namespace}.svc.${config.clusterDomain}`),
      this.#svcDomain,
      this.#domain,
    ];
  }

  get size(): number {
    return this.#size;
  }

  get version(): number {
    return this.#serial;
  }

  replace(entries: readonly ZoneEntry[]): void {
    const nodes = new Map<string, Node>();
    const ancestors = new Set<string>([this.#domain]);
    const add = (name: string, kind: Node['kind'], entry: ZoneEntry, ownsBelow: boolean): void => {
      if (!nodes.has(name)) nodes.set(name, { kind, entry, ownsBelow, replies: undefined });
    };
    for (const entry of entries) {
      const problem = zoneEntryProblem(entry);
      if (problem !== undefined) throw new EdgeError('EDGE_ERR_DNS_ENTRY', problem);
      // Put together from labels: this runs for thousands of entries while queries wait.
      const label = wireLabel(entry.name);
      const namespace = wireLabel(entry.namespace);
      const full = label + namespace + this.#svcDomain;
      if (full.length > 255)
        throw new EdgeError('EDGE_ERR_DNS_ENTRY', `${this.#fullName(entry)} is longer than 253 characters`);
      add(full, 'service', entry, true);
      add(`${label}${namespace}${SVC}`, 'service', entry, true);
      add(`${label}${namespace}\0`, 'service', entry, false);
      if (entry.namespace === this.#config.namespace) add(`${label}\0`, 'service', entry, false);
      add(entry.address.split('.').map(wireLabel).reverse().join('') + REVERSE, 'reverse', entry, true);
      ancestors.add(namespace + this.#svcDomain);
    }
    if (entries.length > 0) ancestors.add(this.#svcDomain);
    // After all proper names, so that an alias never hides one.
    for (const entry of entries) {
      for (const alias of entry.aliases ?? []) add(wireName(alias), 'service', entry, false);
    }
    this.#nodes = nodes;
    this.#ancestors = ancestors;
    this.#serial = (this.#serial + 1) >>> 0;
    this.#size = entries.length;
  }

  lookup(query: Query): Reply | undefined {
    const node = this.#nodes.get(query.name);
    return node === undefined ? this.#lookupOther(query) : this.#reply(node, query);
  }

  outside(query: Query): Reply {
    const start = query.name.length - this.#domain.length;
    if (!labelOffsets(query.name).includes(start) || !query.name.endsWith(this.#domain)) {
      return emptyReply('outside', RCODE.REFUSED);
    }
    const exists = this.#ancestors.has(query.name);
    const soa = this.#soa(start);
    return { ...negativeReply(exists ? RCODE.NOERROR : RCODE.NXDOMAIN, soa), handler: 'outside' };
  }

  #reply(node: Node, query: Query): Reply {
    if (!node.entry.isReady) return emptyReply('zone', RCODE.SERVFAIL, EXTENDED_ERROR.NOT_READY);
    const hasRecords =
      query.type === TYPE.ANY ||
      (node.kind === 'reverse' ? query.type === TYPE.PTR : isServiceType(query.type));
    const key = hasRecords ? query.type : NODATA;
    const known = node.replies?.get(key);
    if (known !== undefined) return known;
    const built = this.#build(node, key, query.name);
    node.replies ??= new Map();
    node.replies.set(key, built);
    return built;
  }

  #build(node: Node, type: number, name: string): Reply {
    const ttl = this.#config.ttlSeconds;
    switch (type) {
      case TYPE.A:
        return positiveReply([encodeRecord(QUESTION_OWNER, ttl, { type: 'A', data: node.entry.address })]);
      case TYPE.SRV:
        return this.#srv(node.entry, node.entry.ports, name);
      case TYPE.PTR:
        return positiveReply([
          encodeRecord(QUESTION_OWNER, ttl, { type: 'PTR', data: this.#fullName(node.entry) }),
        ]);
      case TYPE.ANY:
        // RFC 8482 4.2: the smallest honest answer to "everything".
        return positiveReply([
          encodeRecord(QUESTION_OWNER, ttl, { type: 'HINFO', data: { cpu: 'RFC8482', os: '' } }),
        ]);
      default:
        return negativeReply(RCODE.NOERROR, this.#soa(this.#apex(name, 0)));
    }
  }

  // A name that no table holds: an SRV name, one below a mapped name, what a search list made, or not ours.
  #lookupOther(query: Query): Reply | undefined {
    const { name } = query;
    const offsets = labelOffsets(name);
    if (name.charCodeAt(1) === 95) {
      const reply = this.#lookupSrv(query, offsets);
      if (reply !== undefined) return reply;
    }
    for (const offset of offsets.slice(1)) {
      const node = this.#nodes.get(name.slice(offset));
      if (node?.ownsBelow === true) return negativeReply(RCODE.NXDOMAIN, this.#soa(this.#apex(name, offset)));
    }
    if (this.#isSearchGarbage(name, offsets)) {
      return negativeReply(RCODE.NXDOMAIN, this.#soa(this.#apex(name, offsets[1] ?? 0)));
    }
    // RFC 6303 4.2: reverse names of loopback addresses never leave the machine.
    const reverse = offsets.at(-3);
    if (reverse !== undefined && name.slice(reverse) === LOOPBACK_REVERSE) {
      return negativeReply(RCODE.NXDOMAIN, this.#soa(reverse));
    }
    return undefined;
  }

  // `_http._tcp.SERVICE` by port name, `_8080._tcp.SERVICE` by number, and `_tcp.SERVICE`, which only exists.
  #lookupSrv(query: Query, offsets: readonly number[]): Reply | undefined {
    const { name } = query;
    const labels = offsets.slice(0, 2).map((at) => name.slice(at + 1, at + 1 + name.charCodeAt(at)));
    const isWhole = labels[1]?.startsWith('_') === true;
    const [portLabel, protocolLabel] = isWhole ? labels : [undefined, labels[0]];
    const baseOffset = offsets[isWhole ? 2 : 1];
    if (baseOffset === undefined) return undefined;
    const node = this.#nodes.get(name.slice(baseOffset));
    if (node === undefined || node.kind !== 'service') return undefined;
    if (!node.entry.isReady) return emptyReply('zone', RCODE.SERVFAIL, EXTENDED_ERROR.NOT_READY);
    const ports = node.entry.ports.filter(
      (port) =>
        protocolLabel === `_${port.protocol}` &&
        (portLabel === undefined || portLabel === `_${port.port}` || portLabel === portNameLabel(port)),
    );
    if (isWhole && ports.length > 0 && query.type === TYPE.SRV) return this.#srv(node.entry, ports, name);
    const rcode = ports.length > 0 ? RCODE.NOERROR : RCODE.NXDOMAIN;
    return negativeReply(rcode, this.#soa(this.#apex(name, baseOffset)));
  }

  // RFC 2782; the address rides along so that no second query is needed.
  #srv(entry: ZoneEntry, ports: readonly ZonePort[], name: string): Reply {
    if (ports.length === 0) return negativeReply(RCODE.NOERROR, this.#soa(this.#apex(name, 0)));
    const target = this.#fullName(entry);
    const ttl = this.#config.ttlSeconds;
    const numbers = [...new Set(ports.map(({ port }) => port))];
    const records = numbers.map((port) =>
      encodeRecord(QUESTION_OWNER, ttl, { type: 'SRV', data: { priority: 0, weight: 100, port, target } }),
    );
    return positiveReply(records, [encodeRecord(wireName(target), ttl, { type: 'A', data: entry.address })]);
  }

  // Resolvers append their search list to names that are already whole. Passing those on would make every first lookup
  // wait for an upstream that may be out of reach, so they fail here, at once.
  #isSearchGarbage(name: string, offsets: readonly number[]): boolean {
    const wholeLabels = 3 + this.#domainLabels;
    const cut = offsets[wholeLabels];
    if (cut !== undefined) {
      const head = `${name.slice(0, cut)}\0`;
      if (head.endsWith(this.#domain) && this.#nodes.get(head)?.kind === 'service') return true;
    }
    for (const suffix of this.#suffixes) {
      const at = name.length - suffix.length;
      // One label in front (`mysql.svc.cluster.local`) can be a namespace of the real cluster: not ours to deny.
      if (at < (offsets[2] ?? Number.POSITIVE_INFINITY) || !name.endsWith(suffix) || !offsets.includes(at))
        continue;
      if (this.#nodes.get(`${name.slice(0, at)}\0`)?.kind === 'service') return true;
    }
    return false;
  }

  // The owner of the SOA: the cluster domain where the name is in it, else the mapped name itself, each its own apex.
  #apex(name: string, fallback: number): number {
    return name.endsWith(this.#domain) ? name.length - this.#domain.length : fallback;
  }

  #soa(ownerOffset: number): Buffer {
    const { clusterDomain, ttlSeconds } = this.#config;
    return encodeRecord(ownerOffset, ttlSeconds, {
      type: 'SOA',
      data: {
        mname: `ns.dns.${clusterDomain}`,
        rname: `hostmaster.${clusterDomain}`,
        serial: this.#serial,
        refresh: 7200,
        retry: 1800,
        expire: 86_400,
        minimum: ttlSeconds,
      },
    });
  }

  #fullName(entry: ZoneEntry): string {
    return `${entry.name}.${entry.namespace}.svc.${this.#config.clusterDomain}`;
  }
}

function portNameLabel(port: ZonePort): string | undefined {
  return port.name === undefined ? undefined : `_${port.name.toLowerCase()}`;
}

function isServiceType(type: number): boolean {
  return type === TYPE.A || type === TYPE.SRV;
}
