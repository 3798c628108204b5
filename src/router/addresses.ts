/** The addresses a Router tells others to dial. */
import { isIP } from 'node:net';
import type { NetworkInterfaceInfo } from 'node:os';
import type { RouterStatusAddress } from '../api/gen/types.ts';
import { UsageError } from '../lib/errors.ts';

/** What the process knows about its addresses. */
export interface AddressSources {
  /** Given by the operator; empty to find one. */
  advertised: readonly string[];
  /** Where the tunnel server listens. */
  bindAddr: string;
  socketPath: string | undefined;
  /** The machine's interfaces, as os.networkInterfaces() lists them. */
  interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;
}

const HOST_NAME =
  /^(?=.{1,253}$)(?:[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/iu;

/** Refuses a text that is neither an IP address nor a host name. Throws UsageError that names `what`. */
export function checkAdvertised(address: string, what: string): void {
  const isWildcard = address === '0.0.0.0' || address === '::';
  // 10.0.0 and 10.0.0.256 have the shape of host names, but nobody means one.
  const isBrokenIp = isIP(address) === 0 && /^[\d.]+$/u.test(address);
  if (isWildcard || isBrokenIp || (isIP(address) === 0 && !HOST_NAME.test(address))) {
    throw new UsageError(`${what}: "${address}" is not an IP address or host name that others can dial`);
  }
}

/**
 * The addresses for the status: those advertised, else the one address the server is bound to, else the first
 * non-loopback IPv4 address of the machine, else 127.0.0.1; the socket comes last.
 */
export function routerAddresses(sources: AddressSources): RouterStatusAddress[] {
  const hosts = sources.advertised.length > 0 ? [...new Set(sources.advertised)] : [ownAddress(sources)];
  const found: RouterStatusAddress[] = hosts.map((address) => ({
    type: isIP(address) === 0 ? 'Hostname' : 'InternalIP',
    address,
  }));
  if (sources.socketPath !== undefined) found.push({ type: 'Socket', address: sources.socketPath });
  return found;
}

function ownAddress({ bindAddr, interfaces }: AddressSources): string {
  // Bound to one address, the server cannot be reached on any other.
  if (bindAddr !== '' && bindAddr !== '0.0.0.0' && bindAddr !== '::') return bindAddr;
  for (const entries of Object.values(interfaces)) {
    const usable = entries?.find((entry) => entry.family === 'IPv4' && !entry.internal);
    if (usable !== undefined) return usable.address;
  }
  return '127.0.0.1';
}
