/**
 * Imports and exports files: `services: [{name, namespace, cluster, ports: [{name, port, protocol, targetPort,
 * proxyProtocol}]}]`.
 */
import { UsageError } from '../lib/errors.ts';
import { parseYaml } from '../lib/yaml.ts';
import { checkLabel, checkPort, mappedPorts, parseProtocol } from './services.ts';
import type { ProxyProtocolVersion } from '../tunnel/frp/proxy-protocol.ts';
import type { ExportedService, MappedService, Protocol } from './services.ts';

type Fields = Readonly<Record<string, unknown>>;

interface FilePort {
  /** What consumers connect to. */
  port: number;
  /** What the provider listens on. */
  targetPort: number;
  protocol: Protocol;
  proxyProtocol: ProxyProtocolVersion | undefined;
}

interface FileService {
  name: string;
  namespace: string;
  cluster: string | undefined;
  ports: FilePort[];
}

/** Reads an imports file. Throws UsageError or EDGE_ERR_YAML_PARSE that names `source` and the entry. */
export function parseImportsFile(text: string, source: string, defaultNamespace: string): MappedService[] {
  return parseFile(text, source, defaultNamespace).map(({ name, namespace, cluster, ports }) => ({
    name,
    namespace,
    cluster,
    ...mappedPorts(ports),
    protocol: undefined,
  }));
}

/** Reads an exports file; targets are on 127.0.0.1. Throws as parseImportsFile does. */
export function parseExportsFile(text: string, source: string, defaultNamespace: string): ExportedService[] {
  return parseFile(text, source, defaultNamespace).flatMap(({ name, namespace, ports }) => {
    if (ports.length === 0)
      throw new UsageError(`${source}: service ${name}.${namespace}: an exported service needs ports`);
    return ports.map(({ port, targetPort, protocol, proxyProtocol }) => ({
      name,
      namespace,
      port,
      protocol,
      target: { host: '127.0.0.1', port: targetPort },
      ...(proxyProtocol === undefined ? {} : { proxyProtocol }),
    }));
  });
}

function parseFile(text: string, source: string, defaultNamespace: string): FileService[] {
  const root = parseYaml(text, source);
  if (root === undefined) return []; // an annotation that was emptied
  const services = fields(root, source)['services'];
  return list(services, `${source}: services`).map((value, at) => {
    const what = `${source}: services[${at}]`;
    const entry = fields(value, what);
    const cluster = optionalText(entry['cluster'], 'cluster', what);
    return {
      name: checkLabel(optionalText(entry['name'], 'name', what) ?? '', 'name', what),
      namespace: checkLabel(
        optionalText(entry['namespace'], 'namespace', what) ?? defaultNamespace,
        'namespace',
        what,
      ),
      cluster: cluster
        ?.split('.')
        .map((label) => checkLabel(label, 'cluster', what))
        .join('.'),
      ports: list(entry['ports'], `${what}.ports`).map((port, portAt) =>
        parsePort(port, `${what}.ports[${portAt}]`),
      ),
    };
  });
}

function parsePort(value: unknown, what: string): FilePort {
  const entry = fields(value, what);
  const protocol = parseProtocol(optionalText(entry['protocol'], 'protocol', what) ?? 'TCP', what);
  const port = checkPort(entry['port'] ?? entry['targetPort'], 'port', what);
  return {
    port,
    targetPort: checkPort(entry['targetPort'] ?? port, 'targetPort', what),
    protocol,
    proxyProtocol: parseProxyProtocol(
      optionalText(entry['proxyProtocol'], 'proxyProtocol', what),
      protocol,
      what,
    ),
  };
}

function parseProxyProtocol(
  text: string | undefined,
  protocol: Protocol,
  what: string,
): ProxyProtocolVersion | undefined {
  if (text === undefined) return undefined;
  if (text !== 'v1' && text !== 'v2')
    throw new UsageError(`${what}: proxyProtocol "${text}" is not v1 or v2`);
  if (protocol !== 'TCP') throw new UsageError(`${what}: proxyProtocol needs protocol TCP`);
  return text;
}

function fields(value: unknown, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError(`${what}: wanted a map`);
  return value as Fields;
}

function list(value: unknown, what: string): readonly unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new UsageError(`${what}: wanted a list`);
  return value;
}

function optionalText(value: unknown, role: string, what: string): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value !== 'string') throw new UsageError(`${what}: ${role} is not a text`);
  return value;
}
