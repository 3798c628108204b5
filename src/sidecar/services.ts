/** Mapped and exported services: their shapes and the grammar people write them in. Pure; every mistake is a UsageError. */
import { parseHostPort } from '../lib/address.ts';
import type { HostPort } from '../lib/address.ts';
import { UsageError } from '../lib/errors.ts';

/** A service that this sidecar brings to loopback. */
export interface MappedService {
  name: string;
  namespace: string;
  /** A further domain the service answers in, besides the cluster domain. */
  cluster: string | undefined;
  /** Local ports, ascending; empty takes them from the providers. */
  ports: readonly number[];
}

/** One port of a service that this sidecar publishes. */
export interface ExportedService {
  name: string;
  namespace: string;
  /** The port that consumers see. */
  port: number;
  /** Where connections go. */
  target: HostPort;
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

/** Throws UsageError for anything but TCP. */
export function checkProtocol(text: string, what: string): void {
  const word = text.toLowerCase();
  if (word === 'tcp') return;
  if (word === 'udp')
    throw new UsageError(`${what}: UDP services are not supported yet, they come with sudp support`);
  throw new UsageError(`${what}: protocol "${text}" is neither tcp nor udp`);
}

/** Parses `name[.namespace[.cluster]][:port][/tcp|udp]`; a cluster may have several labels. */
export function parseMapped(text: string, source: string, defaultNamespace: string): MappedService {
  const what = `${source}: "${text}"`;
  const { body, protocol } = splitProtocol(text);
  if (protocol !== undefined) checkProtocol(protocol, what);
  const colon = body.indexOf(':');
  const labels = (colon === -1 ? body : body.slice(0, colon)).split('.');
  const cluster = labels.slice(2).map((label) => checkLabel(label, 'cluster', what));
  return {
    name: checkLabel(labels[0] ?? '', 'name', what),
    namespace: labels[1] === undefined ? defaultNamespace : checkLabel(labels[1], 'namespace', what),
    cluster: cluster.length === 0 ? undefined : cluster.join('.'),
    ports: colon === -1 ? [] : [checkPort(body.slice(colon + 1), 'port', what)],
  };
}

/** Parses `name[.namespace]=[host:]port[/tcp|udp]`; without a host the target is 127.0.0.1. */
export function parseExported(text: string, source: string, defaultNamespace: string): ExportedService {
  const what = `${source}: "${text}"`;
  const { body, protocol } = splitProtocol(text);
  if (protocol !== undefined) checkProtocol(protocol, what);
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
    target,
  };
}

function splitProtocol(text: string): { body: string; protocol: string | undefined } {
  const slash = text.lastIndexOf('/');
  return slash === -1
    ? { body: text, protocol: undefined }
    : { body: text.slice(0, slash), protocol: text.slice(slash + 1) };
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
    const ports = [...new Set([...earlier.ports, ...entry.ports])].sort((a, b) => a - b);
    merged.set(key, { ...earlier, cluster: earlier.cluster ?? entry.cluster, ports });
  }
  return [...merged.values()];
}

/** Drops repetitions; throws when one port of a service has two targets. */
export function mergeExported(entries: readonly ExportedService[]): ExportedService[] {
  const merged = new Map<string, ExportedService>();
  for (const entry of entries) {
    const key = `${serviceKey(entry)}:${entry.port}`;
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
