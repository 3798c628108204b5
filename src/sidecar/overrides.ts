/** What single services have of their own (key `services` of the configuration file), over the sidecar's settings. */
import { UsageError } from '../lib/errors.ts';
import { LB_POLICIES } from './balancer.ts';
import type { LbPolicy } from './balancer.ts';
import { parseHealthCheck } from './health-check.ts';
import type { HealthCheck } from './health-check.ts';
import { checkLabel, serviceKey } from './services.ts';
import { LOCALITIES } from './settings.ts';
import type { Locality } from './settings.ts';
import {
  fields,
  list,
  optionalChoice,
  optionalDuration,
  optionalInteger,
  optionalSwitch,
} from './yaml-fields.ts';

/** How connections of a service are made and bounded. */
export interface ConnectionSettings {
  policy: LbPolicy | 'inOrder';
  /** How long a connection waits for a provider. */
  parkTimeoutMs: number;
  /** How long one provider, or the target of an export, has to accept it. */
  connectTimeoutMs: number;
  /** After how long without a byte it is closed; 0 never. */
  idleTimeoutMs: number;
  /** Open connections of the service. */
  maxConnections: number;
  locality: Locality;
}

/** What one service has of its own; the rest is the sidecar's. */
export interface ServiceOverride extends Partial<ConnectionSettings> {
  secretKey?: string;
  requireSealed?: boolean;
  /** Further names that it answers to. */
  aliases?: readonly string[];
  /** Of a service that is exported here. */
  healthCheck?: HealthCheck;
}

const KEYS: ReadonlySet<string> = new Set([
  'name',
  'namespace',
  'lbPolicy',
  'secretKey',
  'requireSealed',
  'parkTimeout',
  'connectTimeout',
  'idleTimeout',
  'maxConnections',
  'locality',
  'aliases',
  'healthCheck',
]);

/** Reads the list; `value` is undefined when the file has none. Throws UsageError that names `source` and the entry. */
export function parseOverrides(
  value: unknown,
  source: string,
  defaultNamespace: string,
): Map<string, ServiceOverride> {
  const entries = list(value, `${source}: services`).map((item, at) =>
    parseEntry(item, `${source}: services[${at}]`, defaultNamespace),
  );
  return new Map(entries);
}

function parseEntry(item: unknown, what: string, defaultNamespace: string): [string, ServiceOverride] {
  const entry = fields(item, what, KEYS);
  const text = (key: string): string | undefined => {
    const field = entry[key];
    if (field === undefined) return undefined;
    if (typeof field !== 'string' && typeof field !== 'number')
      throw new UsageError(`${what}: ${key} is not a text`);
    return String(field);
  };
  const key = serviceKey({
    name: checkLabel(text('name') ?? '', 'name', what),
    namespace: checkLabel(text('namespace') ?? defaultNamespace, 'namespace', what),
  });
  const aliases = entry['aliases'] === undefined ? undefined : parseAliases(entry['aliases'], what);
  const healthCheck =
    entry['healthCheck'] === undefined
      ? undefined
      : parseHealthCheck(entry['healthCheck'], `${what}.healthCheck`);
  const override = {
    policy: optionalChoice(entry['lbPolicy'], 'lbPolicy', what, LB_POLICIES),
    secretKey: text('secretKey'),
    requireSealed: optionalSwitch(entry['requireSealed'], 'requireSealed', what),
    parkTimeoutMs: optionalDuration(entry['parkTimeout'], 'parkTimeout', what),
    connectTimeoutMs: optionalDuration(entry['connectTimeout'], 'connectTimeout', what),
    idleTimeoutMs: optionalDuration(entry['idleTimeout'], 'idleTimeout', what),
    maxConnections: optionalInteger(entry['maxConnections'], 'maxConnections', what, {
      min: 1,
      max: 1_000_000,
    }),
    locality: optionalChoice(entry['locality'], 'locality', what, LOCALITIES),
    aliases,
    healthCheck,
  };
  return [key, withoutUndefined(override)];
}

/** Domain names, each at most once. */
function parseAliases(value: unknown, what: string): string[] {
  const names = list(value, `${what}.aliases`).map((alias) => {
    if (typeof alias !== 'string' || alias.length > 253)
      throw new UsageError(`${what}.aliases: wanted domain names`);
    return alias
      .toLowerCase()
      .replace(/\.$/u, '')
      .split('.')
      .map((label) => checkLabel(label, 'label', `${what}.aliases`))
      .join('.');
  });
  return [...new Set(names)];
}

/** Leaves out what is not set, so that spreading it over the sidecar's settings changes nothing else. */
function withoutUndefined<T extends object>(value: { [Key in keyof T]: T[Key] | undefined }): T {
  return Object.fromEntries(Object.entries(value).filter(([, field]) => field !== undefined)) as T;
}

/** The settings of one service. */
export function connectionSettings(
  defaults: ConnectionSettings,
  override: ServiceOverride | undefined,
): ConnectionSettings {
  const { policy, parkTimeoutMs, connectTimeoutMs, idleTimeoutMs, maxConnections, locality } = {
    ...defaults,
    ...override,
  };
  return { policy, parkTimeoutMs, connectTimeoutMs, idleTimeoutMs, maxConnections, locality };
}
