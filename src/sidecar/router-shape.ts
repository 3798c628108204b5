/** Whether something is a Router that the sidecar can read: neither its cache nor every API server is to be trusted. Pure. */
import type { Router } from '../api/gen/types.ts';
import { isRecord } from '../lib/json.ts';

/** Whether all that is read of a Router has its type. */
export function isRouter(value: unknown): value is Router {
  if (!isRecord(value) || !isRecord(value['metadata']) || !isRecord(value['spec'])) return false;
  const { metadata, spec, status } = value;
  if (typeof metadata['name'] !== 'string' || !isOptional(metadata['annotations'], isRecord)) return false;
  const { frps } = spec;
  if (!isRecord(frps) || typeof frps['bindPort'] !== 'number' || !isOptional(frps['transport'], isRecord))
    return false;
  if (!isOptional(spec['advertisedServices'], isListOfRecords)) return false;
  if (status === undefined) return true;
  if (!isRecord(status)) return false;
  const { addresses, conditions, activeServices } = status;
  return (
    isOptional(addresses, isListOfAddresses) &&
    isOptional(conditions, isListOfRecords) &&
    isOptional(activeServices, isListOfServices)
  );
}

function isOptional(value: unknown, is: (value: unknown) => boolean): boolean {
  return value === undefined || is(value);
}

function isListOfRecords(value: unknown): value is Record<string, unknown>[] {
  return Array.isArray(value) && value.every(isRecord);
}

function isListOfAddresses(value: unknown): boolean {
  return (
    isListOfRecords(value) &&
    value.every(({ type, address }) => typeof type === 'string' && typeof address === 'string')
  );
}

function isListOfServices(value: unknown): boolean {
  return isListOfRecords(value) && value.every(({ providers }) => isOptional(providers, isListOfRecords));
}
