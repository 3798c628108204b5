/** The bounds of the tunnel server: their defaults, and how `--limit NAME=VALUE` changes them. */
import { UsageError } from '../lib/errors.ts';
import { parseDuration, suggestion } from '../lib/options.ts';
import type { FrpServerConfig } from '../tunnel/frps/types.ts';

/** Bounds of the server; see FrpServerConfig. */
export type Limits = FrpServerConfig['limits'];

const MIB = 1024 * 1024;

/** Sized for a node that serves some thousand pods. */
export const LIMITS: Limits = {
  loginTimeoutMs: 10_000,
  maxPendingConnections: 1024,
  maxSessions: 4096,
  maxStreamsPerSession: 65_536,
  maxUnidentifiedStreams: 8192,
  maxWindowBytes: 6 * MIB,
  maxQueuedBytes: 1024 * MIB,
  maxProxiesPerSession: 4096,
  maxQueuedVisitors: 1024, // a burst of connections waits as long as its client needs to open work connections
};

interface Bound {
  field: keyof Limits;
  kind: 'count' | 'bytes' | 'duration';
  min: number;
  max: number;
}

/** By the name that operators write. */
const BOUNDS: Readonly<Record<string, Bound>> = {
  loginTimeout: { field: 'loginTimeoutMs', kind: 'duration', min: 100, max: 3_600_000 },
  pendingConnections: { field: 'maxPendingConnections', kind: 'count', min: 1, max: 1_000_000 },
  clients: { field: 'maxSessions', kind: 'count', min: 1, max: 1_000_000 },
  streams: { field: 'maxStreamsPerSession', kind: 'count', min: 8, max: 1_000_000 },
  unidentifiedStreams: { field: 'maxUnidentifiedStreams', kind: 'count', min: 8, max: 1_000_000 },
  streamWindow: { field: 'maxWindowBytes', kind: 'bytes', min: 256 * 1024, max: 64 * MIB },
  queuedBytes: { field: 'maxQueuedBytes', kind: 'bytes', min: 16 * MIB, max: 1024 * 1024 * MIB },
  proxies: { field: 'maxProxiesPerSession', kind: 'count', min: 1, max: 1_000_000 },
  queuedVisitors: { field: 'maxQueuedVisitors', kind: 'count', min: 1, max: 1_000_000 },
};

/** The names of all bounds, for help and documentation. */
export const LIMIT_NAMES = Object.keys(BOUNDS);

/** Reads `NAME=VALUE` texts; `what` names their source. Throws UsageError. */
export function parseLimits(texts: readonly string[], what: string): Limits {
  const limits = { ...LIMITS };
  for (const text of texts) {
    const at = text.indexOf('=');
    const name = at < 0 ? text : text.slice(0, at);
    const bound = BOUNDS[name];
    if (at < 0 || bound === undefined) {
      const hint = at < 0 ? 'wants NAME=VALUE' : `no limit "${name}"${suggestion(name, LIMIT_NAMES)}`;
      throw new UsageError(`${what}: "${text}": ${hint}; limits are ${LIMIT_NAMES.join(', ')}`);
    }
    limits[bound.field] = parseValue(text.slice(at + 1), bound, `${what}: ${name}`);
  }
  return limits;
}

const UNITS: Readonly<Record<string, number>> = { '': 1, KiB: 1024, MiB: MIB, GiB: 1024 * MIB };

function parseValue(text: string, { kind, min, max }: Bound, what: string): number {
  const [, digits = '', unit = ''] = /^(\d{1,15})([A-Za-z]*)$/u.exec(text) ?? [];
  const factor = kind === 'bytes' ? UNITS[unit] : unit === '' ? 1 : undefined;
  const value = kind === 'duration' ? parseDuration(text, what) : Number(digits) * (factor ?? NaN);
  if ((kind === 'duration' || digits !== '') && value >= min && value <= max) return value;
  const wanted =
    kind === 'duration'
      ? `a time from ${min} ms to ${max / 1000} s`
      : `a whole number from ${min} to ${max}${kind === 'bytes' ? ', or with KiB, MiB, GiB' : ''}`;
  throw new UsageError(`${what}: "${text}" is not ${wanted}`);
}
