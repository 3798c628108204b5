/** What services' secrets mean for their connections: the key that Routers are shown, and the one that seals. */
import { UsageError } from '../lib/errors.ts';
import type { VisitorRequest } from '../tunnel/frpc/types.ts';
import { createSealKeys } from '../tunnel/seal/keys.ts';
import type { SealPolicy } from '../tunnel/seal/negotiation.ts';
import type { ExportDefinition } from './export-definition.ts';
import type { MappingDefinition } from './mappings.ts';
import type { SidecarConfig } from './options.ts';
import { serviceKey } from './services.ts';

/** How connections of a service are sealed; the port is the connection's. */
export type ServiceSeal = Omit<SealPolicy, 'port'>;

/** Whether connections of a service are sealed, for /status; null while none was made that could tell. */
export type SealState = boolean | 'no secret' | null;

/** Puts keys in the place of secrets. */
export interface Sealing {
  mapped(definitions: readonly MappingDefinition[], config: SidecarConfig): MappingDefinition[];
  exported(definitions: readonly ExportDefinition[], config: SidecarConfig): ExportDefinition[];
}

/** Creates one; it remembers what is slow to derive. */
export function createSealing(): Sealing {
  const keys = createSealKeys();
  /**
   * frp's Router is told the secret of a proxy, so that it can admit visitors. Where sealing is required it is told a
   * key that was derived from the secret instead: visitors that do not seal could not get in anyway.
   */
  const apply = (secret: string, service: string, config: SidecarConfig): Applied => {
    if (secret === '') return { secretKey: '' };
    const isRequired = isSealRequired(config, service);
    const { psk, accessKey } = keys.derive(secret, service);
    return { secretKey: isRequired ? accessKey : secret, seal: { service, psk, isRequired } };
  };
  return {
    mapped: (definitions, config) =>
      definitions.map((definition) => {
        const applied = apply(definition.secretKey, definition.key, config);
        // UDP cannot be sealed: where it must be, UDP ports that Routers report stay closed.
        const udpPorts = applied.seal?.isRequired === true ? [] : definition.udpPorts;
        return { ...definition, udpPorts, ...applied };
      }),
    exported: (definitions, config) =>
      definitions.map((definition) => {
        const applied = apply(definition.secretKey, serviceKey(definition), config);
        return definition.protocol === 'TCP'
          ? { ...definition, ...applied }
          : { ...definition, secretKey: applied.secretKey };
      }),
  };
}

interface Applied {
  secretKey: string;
  seal?: ServiceSeal;
}

function isSealRequired(config: SidecarConfig, service: string): boolean {
  return config.overrides.get(service)?.requireSealed ?? config.requireSealed;
}

/** Throws UsageError when a service must be sealed and cannot be: it has no secret, or is UDP. */
export function checkSealing(config: SidecarConfig): void {
  const services = [
    ...config.mapped.map((service) => ({
      service,
      isUdp: service.udpPorts.length > 0 || service.protocol === 'UDP',
    })),
    ...config.exported.map((service) => ({ service, isUdp: service.protocol === 'UDP' })),
  ];
  for (const { service, isUdp } of services) {
    const key = serviceKey(service);
    if (!isSealRequired(config, key)) continue;
    const what = `service ${key}: sealing is required (SIDECAR_REQUIRE_SEALED, requireSealed)`;
    const secret = config.overrides.get(key)?.secretKey ?? config.secretKey;
    if (secret === '')
      throw new UsageError(`${what} and there is no secret to seal with (SIDECAR_SECRET_KEY)`);
    if (isUdp) throw new UsageError(`${what} and UDP cannot be sealed`);
  }
}

/** The seal of one connection: to the port that is asked for by name, or to any. */
export function sealTo(seal: ServiceSeal | undefined, proxyName: string): Pick<VisitorRequest, 'seal'> {
  const port = /:(\d+)$/u.exec(proxyName)?.[1];
  return seal === undefined ? {} : { seal: { ...seal, port: Number(port ?? 0) } };
}

/** What is known of a service's seal, by its latest connection. */
export function sealState(seal: ServiceSeal | undefined, isLatestSealed: boolean | undefined): SealState {
  if (seal === undefined) return 'no secret';
  return seal.isRequired ? true : (isLatestSealed ?? null);
}
