/** Reads resolv.conf(5) as stub resolvers do: unknown lines are skipped, nothing throws. */
import { isIP } from 'node:net';
import type { HostPort } from '../lib/address.ts';

/** What a resolv.conf says. */
export interface ResolvConf {
  /** In order, without duplicates, port 53. */
  nameservers: HostPort[];
  /** The search list, lower case; the last `search` or `domain` line wins. */
  search: string[];
  /** Options as written, such as `ndots:5`, in order. */
  options: string[];
}

const DNS_PORT = 53;

/** Parses the text of the file; name servers at an address in `own` (ours) are left out. */
export function parseResolvConf(text: string, own: readonly HostPort[] = []): ResolvConf {
  const result: ResolvConf = { nameservers: [], search: [], options: [] };
  for (const line of text.split(/\r?\n/u)) {
    // Comments are whole lines or follow white space; the manual has them in the first column, everyone writes both.
    const [keyword, ...values] = line
      .replace(/(?:^|\s)[#;].*$/u, '')
      .trim()
      .split(/\s+/u);
    switch (keyword) {
      case 'nameserver':
        addNameserver(result.nameservers, values[0] ?? '');
        break;
      case 'search':
      case 'domain':
        result.search = values
          .map((domain) => domain.toLowerCase().replace(/\.$/u, ''))
          .filter((name) => name !== '');
        break;
      case 'options':
        result.options.push(...values);
        break;
      default:
    }
  }
  result.nameservers = withoutOwn(result.nameservers, own);
  return result;
}

function addNameserver(list: HostPort[], host: string): void {
  if (isIP(host) === 0 || list.some((known) => known.host === host)) return;
  list.push({ host, port: DNS_PORT });
}

/** The addresses that are not ours; asking ourselves would be a loop. A wildcard listener owns every loopback address. */
export function withoutOwn(addresses: readonly HostPort[], own: readonly HostPort[]): HostPort[] {
  return addresses.filter(
    ({ host, port }) => !own.some((mine) => mine.port === port && covers(mine.host, host)),
  );
}

// As a target, the wildcard address means this machine.
function covers(listener: string, host: string): boolean {
  const target = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  if (listener === '0.0.0.0') return target.startsWith('127.');
  if (listener === '::') return target === '::1';
  return listener === target;
}
