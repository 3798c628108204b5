/** Network addresses as people write them: `host:port`, `:port`, `[v6]:port`, `unix:///path`. */
import { isIP } from 'node:net';
import { UsageError } from './errors.ts';

/** A TCP or UDP address. */
export interface HostPort {
  host: string;
  port: number;
}

/** Parses `host:port`; a missing host becomes `defaultHost`. Throws UsageError that names `what`. */
export function parseHostPort(text: string, what: string, defaultHost = '127.0.0.1'): HostPort {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/u.exec(text.trim());
  const port = Number(match?.[3]);
  if (match === null || port > 65535)
    throw new UsageError(`${what}: "${text}" is not an address of the form HOST:PORT`);
  const host = match[1] ?? match[2] ?? '';
  return { host: host === '' ? defaultHost : host, port };
}

/** Formats an address so that parseHostPort reads it back. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Whether traffic to this host stays on the machine: 127.0.0.0/8, ::1, localhost. */
export function isLoopbackHost(host: string): boolean {
  if (host === 'localhost' || host === '::1') return true;
  return isIP(host) === 4 && host.startsWith('127.');
}

/** The 32-bit number of a dotted IPv4 address; throws UsageError when it is not one. */
export function ipv4ToNumber(text: string): number {
  if (isIP(text) !== 4) throw new UsageError(`"${text}" is not an IPv4 address`);
  return text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

/** The dotted form of a 32-bit IPv4 address. */
export function numberToIpv4(value: number): string {
  return [24, 16, 8, 0].map((shift) => (value >>> shift) & 255).join('.');
}
