/** What a health check is, in the terms of frp and of Kubernetes' probes, and one check of a target. */
import { connect } from 'node:net';
import { request } from 'node:http';
import type { HostPort } from '../lib/address.ts';
import { formatHostPort } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { EdgeError, errorMessage, UsageError } from '../lib/errors.ts';
import { dialTo } from './loopback.ts';
import { checkPort } from './services.ts';
import { fields, optionalChoice, optionalDuration, optionalInteger, optionalText } from './yaml-fields.ts';

/** How an exporter finds out whether the service beside it is able to serve. */
export interface HealthCheck {
  /** `tcp`: it accepts a connection. `http`: it answers a GET with a status from 200 to 399. */
  type: (typeof TYPES)[number];
  /** Of http. */
  path: string;
  /** Of http, besides Host. */
  headers: Readonly<Record<string, string>>;
  /** Where to check; the exported target when absent. */
  port: number | undefined;
  /** From the beginning of one check to that of the next. */
  intervalMs: number;
  timeoutMs: number;
  /** Failures in a row that take the provider out of rotation. */
  failureThreshold: number;
  /** Successes in a row that bring it back. */
  successThreshold: number;
}

const TYPES = ['tcp', 'http'] as const;
const KEYS: ReadonlySet<string> = new Set([
  'type',
  'path',
  'headers',
  'port',
  'interval',
  'timeout',
  'failureThreshold',
  'successThreshold',
]);
/** A service that died is noticed in half a second, which costs a connection over loopback twice a second. */
const DEFAULTS = { intervalMs: 500, timeoutMs: 1000, failureThreshold: 1, successThreshold: 1 };
const MIN_INTERVAL_MS = 50;
const THRESHOLD = { min: 1, max: 100 };
/** RFC 9110 5.1 token, and no control characters in a value. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/u;
const HEADER_VALUE = /^[\t\u0020-\u007E]*$/u;

/** Reads a health check of a configuration file. Throws UsageError that names `what`. */
export function parseHealthCheck(value: unknown, what: string): HealthCheck {
  const entry = fields(value, what, KEYS);
  const type = optionalChoice(entry['type'], 'type', what, TYPES) ?? 'tcp';
  const path = optionalText(entry['path'], 'path', what);
  if (type === 'tcp' && (path !== undefined || entry['headers'] !== undefined))
    throw new UsageError(`${what}: path and headers need type http`);
  if (path !== undefined && !/^\/[\u0021-\u007E]*$/u.test(path))
    throw new UsageError(
      `${what}: path "${path}" does not begin with "/", or has characters that need encoding`,
    );
  const duration = (key: 'interval' | 'timeout', fallback: number): number => {
    const ms = optionalDuration(entry[key], key, what) ?? fallback;
    if (ms < MIN_INTERVAL_MS) throw new UsageError(`${what}: ${key} is shorter than ${MIN_INTERVAL_MS}ms`);
    return ms;
  };
  const threshold = (key: 'failureThreshold' | 'successThreshold'): number =>
    optionalInteger(entry[key], key, what, THRESHOLD) ?? DEFAULTS[key];
  return {
    type,
    path: path ?? '/',
    headers: parseHeaders(entry['headers'], what),
    port: entry['port'] === undefined ? undefined : checkPort(entry['port'], 'port', what),
    intervalMs: duration('interval', DEFAULTS.intervalMs),
    timeoutMs: duration('timeout', DEFAULTS.timeoutMs),
    failureThreshold: threshold('failureThreshold'),
    successThreshold: threshold('successThreshold'),
  };
}

function parseHeaders(value: unknown, what: string): Record<string, string> {
  if (value === undefined) return {};
  return Object.fromEntries(
    Object.entries(fields(value, `${what}.headers`)).map(([name, text]) => {
      if (!HEADER_NAME.test(name) || typeof text !== 'string' || !HEADER_VALUE.test(text))
        throw new UsageError(
          `${what}.headers: "${name}" is not a header with a text of printable characters`,
        );
      return [name, text];
    }),
  );
}

/** Checks a target once: resolves when it is well, rejects with the reason when it is not, or at the abort. */
export type Probe = (check: HealthCheck, target: HostPort, signal: AbortSignal) => Promise<void>;

/** Checks over real sockets; the caller sets the time by aborting. */
export const probe: Probe = (check, target, signal) => {
  const where = { host: target.host, port: check.port ?? target.port };
  return check.type === 'tcp' ? probeTcp(where, signal) : probeHttp(check, where, signal);
};

function probeTcp({ host, port }: HostPort, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ ...dialTo(host), port, signal });
    socket.on('error', reject);
    socket.once('connect', () => {
      socket.destroy();
      resolve();
    });
  });
}

function probeHttp(check: HealthCheck, { host, port }: HostPort, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const { path, headers } = check;
    const sent = request({
      ...dialTo(host),
      port,
      path,
      signal,
      agent: false,
      headers: { 'user-agent': 'edge-health-check', ...headers },
    });
    sent.on('error', reject);
    sent.once('response', (answer) => {
      const { statusCode = 0 } = answer;
      answer.on('error', () => {}); // its body is of no interest
      answer.destroy();
      if (statusCode >= 200 && statusCode < 400) resolve();
      else reject(new EdgeError('EDGE_ERR_SIDECAR_HEALTH', `GET ${path} answered ${statusCode}`));
    });
    sent.end();
  });
}

/** Runs one check within its time; the reason of a failure, or undefined. */
export async function runCheck(
  check: HealthCheck,
  target: HostPort,
  deps: { clock: Clock; probe: Probe; signal: AbortSignal },
): Promise<string | undefined> {
  const limit = new AbortController();
  const stop = (): void => limit.abort();
  deps.signal.addEventListener('abort', stop, { once: true });
  let isLate = false;
  const timer = deps.clock.after(check.timeoutMs, () => {
    isLate = true;
    stop();
  });
  try {
    await deps.probe(check, target, limit.signal);
    return undefined;
  } catch (err) {
    const where = formatHostPort(target.host, check.port ?? target.port);
    const why = isLate ? `no answer in ${check.timeoutMs}ms` : errorMessage(err);
    return why.startsWith(where) ? why : `${where}: ${why}`; // errors of sockets name it themselves
  } finally {
    timer.cancel();
    deps.signal.removeEventListener('abort', stop);
  }
}
