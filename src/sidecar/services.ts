/** Mapped and exported services: their shapes and the grammar people write them in. Pure; every mistake is a UsageError. */
import { parseHostPort } from '../lib/address.ts';
import type { HostPort } from '../lib/address.ts';
import { UsageError } from '../lib/errors.ts';
import type { HealthCheck } from './health-check.ts';
import type { ProxyProtocolVersion } from '../tunnel/frp/proxy-protocol.ts';

/** What a port of a service speaks. */
export type Protocol = 'TCP' | 'UDP';

/** A service that this sidecar brings to loopback. */
export interface MappedService {
  name: string;
  namespace: string;
  /** A further domain the service answers in, besides the cluster domain. */
  cluster: string | undefined;
  /** Local TCP ports, ascending. A service without a port of either protocol takes them from the providers. */
  ports: readonly number[];
  /** Local UDP ports, ascending. */
  udpPorts: readonly number[];
  /** What ports are called, for SRV records. */
  portNames?: readonly PortName[];
  /** Which ports to take from the providers; undefined for those of both protocols. */
  protocol: Protocol | undefined;
}

/** A port by name. */
export interface PortName {
  name: string;
  port: number;
  protocol: Protocol;
}

/** One port of a service that this sidecar publishes. */
export interface ExportedService {
  name: string;
  namespace: string;
  /** The port that consumers see. */
  port: number;
  protocol: Protocol;
  /** Where connections, or datagrams, go. */
  target: HostPort;
  /** Connections to the target begin with a PROXY header that names the consumer's address. */
  proxyProtocol?: ProxyProtocolVersion;
  /** How to find out whether the target can serve; without one it is taken for granted. */
  healthCheck?: HealthCheck;
  /** What Routers are told about it besides name, namespace, port, protocol, node and pod. */
  metas?: Readonly<Record<string, string>>;
}

/** What a service is known by everywhere: `NAME.NAMESPACE`. */
export function serviceKey(service: { name: string; namespace: string }): string {
  return `${service.name}.${service.namespace}`;
}

/** RFC 1123 2.1 label: what Kubernetes allows as a name, so that every service has a DNS name. */
const LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/u;

/** Throws UsageError unless `text` is a DNS label. */
export function checkLabel(text: string, role: string, what: string): string {
  if (!LABEL.test(text)) {
    throw new UsageError(
      `${what}: ${role} "${text}" is not a DNS label (lower-case letters, digits and "-", 63 characters at most)`,
    );
  }
  return text;
}

/** Throws UsageError unless `value` is a port number; `what` names the entry. */
export function checkPort(value: unknown, role: string, what: string): number {
  if (value === undefined || value === null) throw new UsageError(`${what}: ${role} is missing`);
  const port = typeof value === 'string' && /^\d{1,5}$/u.test(value) ? Number(value) : value;
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 1 || port > 65535) {
    const shown = typeof value === 'string' ? `"${value}"` : JSON.stringify(value);
    throw new UsageError(`${what}: ${role} ${shown} is not a number from 1 to 65535`);
  }
  return port;
}

/** Reads a protocol, whatever its case. Throws UsageError for anything but TCP and UDP. */
export function parseProtocol(text: string, what: string): Protocol {
  const word = text.toUpperCase();
  if (word === 'TCP' || word === 'UDP') return word;
  throw new UsageError(`${what}: protocol "${text}" is neither tcp nor udp`);
}

/** Parses `name[.namespace[.cluster]][:port][/tcp|udp]`; a cluster may have several labels. */
export function parseMapped(text: string, source: string, defaultNamespace: string): MappedService {
  const what = `${source}: "${text}"`;
  const { body, protocol } = splitProtocol(text, what);
  const colon = body.indexOf(':');
  const labels = (colon === -1 ? body : body.slice(0, colon)).split('.');
  const cluster = labels.slice(2).map((label) => checkLabel(label, 'cluster', what));
  return {
    name: checkLabel(labels[0] ?? '', 'name', what),
    namespace: labels[1] === undefined ? defaultNamespace : checkLabel(labels[1], 'namespace', what),
    cluster: cluster.length === 0 ? undefined : cluster.join('.'),
    ...mappedPorts(
      colon === -1
        ? []
        : [{ port: checkPort(body.slice(colon + 1), 'port', what), protocol: protocol ?? 'TCP' }],
    ),
    protocol,
  };
}

/** Sorts ports into the lists of a mapped service. */
export function mappedPorts(
  ports: readonly { port: number; protocol: Protocol }[],
): Pick<MappedService, 'ports' | 'udpPorts'> {
  const listOf = (protocol: Protocol): number[] =>
    ports
      .filter((each) => each.protocol === protocol)
      .map(({ port }) => port)
      .sort((a, b) => a - b);
  return { ports: listOf('TCP'), udpPorts: listOf('UDP') };
}

/** The names of a mapped service's ports, left out when there are none. */
export function withPortNames(portNames: readonly PortName[]): Pick<MappedService, 'portNames'> {
  return portNames.length === 0 ? {} : { portNames };
}

/** Parses `name[.namespace]=[host:]port[/tcp|udp]`; without a host the target is 127.0.0.1. */
export function parseExported(text: string, source: string, defaultNamespace: string): ExportedService {
  const what = `${source}: "${text}"`;
  const { body, protocol } = splitProtocol(text, what);
  const equals = body.indexOf('=');
  if (equals === -1) throw new UsageError(`${what}: wanted NAME[.NAMESPACE]=[HOST:]PORT`);
  const labels = body.slice(0, equals).trim().split('.');
  if (labels.length > 2) throw new UsageError(`${what}: wanted NAME[.NAMESPACE] before the "="`);
  const where = body.slice(equals + 1).trim();
  const target = /^[^:]*$/u.test(where)
    ? { host: '127.0.0.1', port: checkPort(where, 'port', what) }
    : parseHostPort(where, what);
  checkPort(target.port, 'port', what);
  return {
    name: checkLabel(labels[0] ?? '', 'name', what),
    namespace: labels[1] === undefined ? defaultNamespace : checkLabel(labels[1], 'namespace', what),
    port: target.port,
    protocol: protocol ?? 'TCP',
    target,
  };
}

function splitProtocol(text: string, what: string): { body: string; protocol: Protocol | undefined } {
  const slash = text.lastIndexOf('/');
  return slash === -1
    ? { body: text, protocol: undefined }
    : { body: text.slice(0, slash), protocol: parseProtocol(text.slice(slash + 1), what) };
}

/** One entry a service: ports of entries with the same name are joined. Throws when their clusters differ. */
export function mergeMapped(entries: readonly MappedService[]): MappedService[] {
  const merged = new Map<string, MappedService>();
  for (const entry of entries) {
    const key = serviceKey(entry);
    const earlier = merged.get(key);
    if (earlier === undefined) {
      merged.set(key, entry);
      continue;
    }
    if (earlier.cluster !== undefined && entry.cluster !== undefined && earlier.cluster !== entry.cluster) {
      throw new UsageError(
        `mapped service ${key}: asked for in two clusters, ${earlier.cluster} and ${entry.cluster}`,
      );
    }
    const joined = (a: readonly number[], b: readonly number[]): number[] =>
      [...new Set([...a, ...b])].sort((one, other) => one - other);
    merged.set(key, {
      ...earlier,
      cluster: earlier.cluster ?? entry.cluster,
      ports: joined(earlier.ports, entry.ports),
      udpPorts: joined(earlier.udpPorts, entry.udpPorts),
      ...withPortNames([...(earlier.portNames ?? []), ...(entry.portNames ?? [])]),
      protocol: earlier.protocol === entry.protocol ? earlier.protocol : undefined,
    });
  }
  return [...merged.values()];
}

/** Drops repetitions; throws when one port of a service has two targets. */
export function mergeExported(entries: readonly ExportedService[]): ExportedService[] {
  const merged = new Map<string, ExportedService>();
  for (const entry of entries) {
    const key = `${serviceKey(entry)}:${entry.port}/${entry.protocol}`;
    const earlier = merged.get(key);
    if (
      earlier !== undefined &&
      (earlier.target.host !== entry.target.host || earlier.target.port !== entry.target.port)
    ) {
      throw new UsageError(`exported service ${serviceKey(entry)}: port ${entry.port} has two targets`);
    }
    merged.set(key, earlier ?? entry);
  }
  return [...merged.values()];
}
