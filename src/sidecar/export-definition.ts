/**
 * What an exported service is registered as.
 *
 * A service whose health check fails is registered all the same, so that everybody sees why it is away, but says so and
 * has a secret that nobody knows: a Router that does not understand the first part refuses its visitors by the second.
 */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { ProxyDefinition } from '../tunnel/frpc/types.ts';
import type { HealthMonitor } from './health.ts';
import type { ConnectionSettings } from './overrides.ts';
import type { ServiceSeal } from './sealing.ts';
import { serviceKey } from './services.ts';
import type { ExportedService } from './services.ts';

/** How connections to exported services are bounded. */
export type ExportLimits = Pick<ConnectionSettings, 'connectTimeoutMs' | 'idleTimeoutMs' | 'maxConnections'>;

/** An exported service with what its proxy is registered as. */
export interface ExportDefinition extends ExportedService, ExportLimits {
  proxyName: string;
  /** What Routers are told. */
  secretKey: string;
  /** How connections are sealed; absent without a secret, and for UDP. */
  seal?: ServiceSeal;
}

/** Who publishes. */
export interface ExportIdentity {
  pod: string;
  node: string;
}

/** Of the reason of a failed health check, characters. */
const MAX_REASON_LENGTH = 200;

/**
 * Names the proxies: the first port of a service is `SERVICE.NAMESPACE.POD`, further ones end in `-PORT`, and in
 * `-PORT-udp` for UDP, since a service may have both on one port.
 */
export function defineExports(
  services: readonly ExportedService[],
  pod: string,
  settingsFor: (key: string) => ExportLimits & { secretKey: string },
): ExportDefinition[] {
  const seen = new Set<string>();
  return services.map((service) => {
    const key = serviceKey(service);
    const base = `${key}.${pod}`;
    const suffix = `-${service.port}${service.protocol === 'UDP' ? '-udp' : ''}`;
    const proxyName = seen.has(key) ? `${base}${suffix}` : base;
    seen.add(key);
    return { ...service, ...settingsFor(key), proxyName };
  });
}

/** What Routers are told of a service. */
export function proxyOf(
  definition: ExportDefinition,
  health: HealthMonitor | undefined,
  identity: ExportIdentity,
): Omit<ProxyDefinition, 'onConnection'> {
  const { proxyName: name, protocol, port, seal, proxyProtocol } = definition;
  const metas = {
    ...definition.metas,
    service: definition.name,
    namespace: definition.namespace,
    port: String(port),
    protocol,
    node: identity.node,
    pod: identity.pod,
  };
  const isReady = health?.isHealthy ?? true;
  const message = (health?.reason ?? '').slice(0, MAX_REASON_LENGTH);
  return {
    name,
    type: protocol === 'UDP' ? 'sudp' : 'stcp',
    allowUsers: ['*'],
    secretKey: isReady ? definition.secretKey : randomBytes(32).toString('hex'),
    // kept while it is not ready: connections that the Router let in before it knew are still to be answered
    ...(seal === undefined ? {} : { seal: { ...seal, port } }),
    ...(protocol === 'TCP' ? { confirm: true } : {}),
    ...(proxyProtocol === undefined ? {} : { proxyProtocol }),
    metas: isReady ? metas : { ...metas, ready: 'false', message },
  };
}

/** Whether a registered proxy can stay as it is when its definition becomes the other. */
export function isSameProxy(a: ExportDefinition, b: ExportDefinition): boolean {
  return (
    a.name === b.name &&
    a.namespace === b.namespace &&
    a.port === b.port &&
    a.protocol === b.protocol &&
    a.secretKey === b.secretKey &&
    a.proxyProtocol === b.proxyProtocol &&
    a.seal?.isRequired === b.seal?.isRequired &&
    isDeepStrictEqual(a.healthCheck, b.healthCheck) &&
    isDeepStrictEqual(a.metas, b.metas)
  );
}
