/**
 * Imports and exports files: `services: [{name, namespace, cluster, ports: [{name, port, protocol, targetPort,
 * proxyProtocol, healthCheck}], healthCheck}]`.
 */
import { UsageError } from '../lib/errors.ts';
import { parseYaml } from '../lib/yaml.ts';
import { parseHealthCheck } from './health-check.ts';
import type { HealthCheck } from './health-check.ts';
import { checkLabel, checkPort, mappedPorts, parseProtocol, withPortNames } from './services.ts';
import type { ProxyProtocolVersion } from '../tunnel/frp/proxy-protocol.ts';
import type { ExportedService, MappedService, Protocol } from './services.ts';
import { fields, list, optionalText } from './yaml-fields.ts';

interface FilePort {
  name: string | undefined;
  /** What consumers connect to. */
  port: number;
  /** What the provider listens on. */
  targetPort: number;
  protocol: Protocol;
  proxyProtocol: ProxyProtocolVersion | undefined;
  healthCheck: HealthCheck | undefined;
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
    ...withPortNames(
      ports.flatMap((each) =>
        each.name === undefined ? [] : { name: each.name, port: each.port, protocol: each.protocol },
      ),
    ),
    protocol: undefined,
  }));
}

/** Reads an exports file; targets are on 127.0.0.1. Throws as parseImportsFile does. */
export function parseExportsFile(text: string, source: string, defaultNamespace: string): ExportedService[] {
  return parseFile(text, source, defaultNamespace).flatMap(({ name, namespace, ports }) => {
    if (ports.length === 0)
      throw new UsageError(`${source}: service ${name}.${namespace}: an exported service needs ports`);
    return ports.map(({ port, targetPort, protocol, proxyProtocol, healthCheck }) => ({
      name,
      namespace,
      port,
      protocol,
      target: { host: '127.0.0.1', port: targetPort },
      ...(proxyProtocol === undefined ? {} : { proxyProtocol }),
      ...(healthCheck === undefined ? {} : { healthCheck }),
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
    const healthCheck = checkOf(entry['healthCheck'], what);
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
        parsePort(port, `${what}.ports[${portAt}]`, healthCheck),
      ),
    };
  });
}

function checkOf(value: unknown, what: string): HealthCheck | undefined {
  return value === undefined || value === null ? undefined : parseHealthCheck(value, `${what}.healthCheck`);
}

/** `fallback` is the service's health check. */
function parsePort(value: unknown, what: string, fallback: HealthCheck | undefined): FilePort {
  const entry = fields(value, what);
  const protocol = parseProtocol(optionalText(entry['protocol'], 'protocol', what) ?? 'TCP', what);
  const port = checkPort(entry['port'] ?? entry['targetPort'], 'port', what);
  const name = optionalText(entry['name'], 'name', what);
  return {
    name: name === undefined ? undefined : checkLabel(name, 'name', what),
    port,
    targetPort: checkPort(entry['targetPort'] ?? port, 'targetPort', what),
    protocol,
    proxyProtocol: parseProxyProtocol(
      optionalText(entry['proxyProtocol'], 'proxyProtocol', what),
      protocol,
      what,
    ),
    healthCheck: checkOf(entry['healthCheck'], what) ?? fallback,
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
