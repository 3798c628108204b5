/** Targets called `localhost`: both loopback addresses are tried, whatever the machine's hosts file says (RFC 6761 6.3). */
import type { LookupFunction } from 'node:net';

const ADDRESSES = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
];

const lookup: LookupFunction = (_name, options, done) => {
  if (options.all === true) done(null, ADDRESSES);
  else done(null, '127.0.0.1', 4);
};

/** Where to connect, for net.connect and http.request. */
export function dialTo(
  host: string,
): { host: string } | { host: string; lookup: LookupFunction; autoSelectFamily: true } {
  return host === 'localhost' ? { host, lookup, autoSelectFamily: true } : { host };
}
