/**
 * The PROXY protocol (haproxy's proxy-protocol.txt, versions 1 and 2): tells a service who its user is. Pure; the
 * decoder reads from any prefix of the input and never looks further than the longest header it accepts.
 */
import { isIP, isIPv4 } from 'node:net';
import { TunnelError } from '../errors.ts';

/** Versions of the header. */
export type ProxyProtocolVersion = 'v1' | 'v2';

/** Who talks to whom. */
export interface ProxyAddresses {
  transport: 'tcp' | 'udp';
  sourceAddr: string;
  sourcePort: number;
  destinationAddr: string;
  destinationPort: number;
}

/** A header that was read. */
export interface ProxyHeader {
  version: ProxyProtocolVersion;
  /** Undefined where the proxy speaks for itself (LOCAL) or does not know (UNKNOWN, other families). */
  addresses: ProxyAddresses | undefined;
  /** Bytes of the header; what follows is payload. */
  length: number;
}

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const V1_START = Buffer.from('PROXY ', 'latin1');
/** The specification's longest version 1 line, with its line end. */
const MAX_V1_BYTES = 107;
const V2_FIXED_BYTES = 16;
/** Most bytes behind the fixed part of version 2: addresses and as many extensions as anyone sends. */
const MAX_V2_VARIABLE_BYTES = 4096;
const COMMAND = { local: 0x20, proxy: 0x21 } as const;
const FAMILY = { inet: 1, inet6: 2 } as const;
const TRANSPORT = { stream: 1, datagram: 2 } as const;

/**
 * The header for a connection, or for the first datagram of a flow. An IPv4 address mapped into IPv6 is sent as
 * IPv4. Throws TunnelError (protocol) when an address is none or the two are of different families.
 */
export function encodeProxyHeader(version: ProxyProtocolVersion, addresses: ProxyAddresses): Buffer {
  const source = plainAddress(addresses.sourceAddr);
  const destination = plainAddress(addresses.destinationAddr);
  const family = isIP(source);
  if (family === 0 || family !== isIP(destination)) {
    throw new TunnelError(
      'protocol',
      `no PROXY header for ${source} to ${destination}: not two addresses of a kind`,
    );
  }
  const { transport, sourcePort, destinationPort } = addresses;
  if (version === 'v1') {
    if (transport === 'udp') return Buffer.from('PROXY UNKNOWN\r\n');
    return Buffer.from(`PROXY TCP${family} ${source} ${destination} ${sourcePort} ${destinationPort}\r\n`);
  }
  const hosts = Buffer.concat([addressBytes(source), addressBytes(destination)]);
  const header = Buffer.alloc(V2_FIXED_BYTES + hosts.length + 4);
  header.set(SIGNATURE);
  header[12] = COMMAND.proxy;
  header[13] =
    ((family === 4 ? FAMILY.inet : FAMILY.inet6) << 4) |
    (transport === 'tcp' ? TRANSPORT.stream : TRANSPORT.datagram);
  header.writeUInt16BE(hosts.length + 4, 14);
  header.set(hosts, V2_FIXED_BYTES);
  header.writeUInt16BE(sourcePort, header.length - 4);
  header.writeUInt16BE(destinationPort, header.length - 2);
  return header;
}

/** Reads the header at the start of `bytes`; undefined when more are needed. Throws TunnelError (protocol). */
export function decodeProxyHeader(bytes: Buffer): ProxyHeader | undefined {
  if (isStart(bytes, SIGNATURE)) return decodeV2(bytes);
  if (isStart(bytes, V1_START)) return decodeV1(bytes);
  throw malformed('it begins with something else');
}

/** Whether the two agree as far as both go. */
function isStart(bytes: Buffer, start: Buffer): boolean {
  const length = Math.min(bytes.length, start.length);
  return bytes.subarray(0, length).equals(start.subarray(0, length));
}

function decodeV1(bytes: Buffer): ProxyHeader | undefined {
  const end = bytes.subarray(0, MAX_V1_BYTES).indexOf('\r\n', 0, 'latin1');
  if (end < 0) {
    if (bytes.length >= MAX_V1_BYTES) throw malformed(`its line is longer than ${MAX_V1_BYTES} bytes`);
    return undefined;
  }
  const length = end + 2;
  const line = bytes.toString('latin1', V1_START.length, end);
  if (line === 'UNKNOWN' || line.startsWith('UNKNOWN '))
    return { version: 'v1', addresses: undefined, length };
  const [kind, sourceAddr = '', destinationAddr = '', sourcePort = '', destinationPort = '', ...rest] =
    line.split(' ');
  const family = kind === 'TCP4' ? 4 : kind === 'TCP6' ? 6 : -1;
  if (rest.length > 0 || isIP(sourceAddr) !== family || isIP(destinationAddr) !== family) {
    throw malformed('its addresses are none');
  }
  return {
    version: 'v1',
    addresses: {
      transport: 'tcp',
      sourceAddr,
      sourcePort: parsePort(sourcePort),
      destinationAddr,
      destinationPort: parsePort(destinationPort),
    },
    length,
  };
}

function parsePort(text: string): number {
  const port = /^(?:0|[1-9]\d{0,4})$/u.test(text) ? Number(text) : Infinity;
  if (port > 65_535) throw malformed('a port is none');
  return port;
}

function decodeV2(bytes: Buffer): ProxyHeader | undefined {
  if (bytes.length < V2_FIXED_BYTES) return undefined;
  const command = bytes[12];
  const kind = bytes[13] ?? 0;
  const variable = bytes.readUInt16BE(14);
  if (command !== COMMAND.local && command !== COMMAND.proxy) throw malformed(`its command is ${command}`);
  if (variable > MAX_V2_VARIABLE_BYTES) throw malformed(`it has ${variable} bytes`);
  const length = V2_FIXED_BYTES + variable;
  if (bytes.length < length) return undefined;
  const family = kind >>> 4;
  const transport = kind & 0x0f;
  const isKnown =
    (family === FAMILY.inet || family === FAMILY.inet6) &&
    (transport === TRANSPORT.stream || transport === TRANSPORT.datagram);
  // LOCAL is the proxy's own connection, whatever else the header says.
  if (command === COMMAND.local || !isKnown) return { version: 'v2', addresses: undefined, length };
  const hostBytes = family === FAMILY.inet ? 4 : 16;
  if (variable < 2 * hostBytes + 4) throw malformed('its addresses are cut off');
  const portsAt = V2_FIXED_BYTES + 2 * hostBytes;
  return {
    version: 'v2',
    addresses: {
      transport: transport === TRANSPORT.stream ? 'tcp' : 'udp',
      sourceAddr: formatAddress(bytes.subarray(V2_FIXED_BYTES, V2_FIXED_BYTES + hostBytes)),
      sourcePort: bytes.readUInt16BE(portsAt),
      destinationAddr: formatAddress(bytes.subarray(V2_FIXED_BYTES + hostBytes, portsAt)),
      destinationPort: bytes.readUInt16BE(portsAt + 2),
    },
    length,
  };
}

/** An address without a zone, and as IPv4 where IPv6 only carries one. */
export function plainAddress(address: string): string {
  const bare = address.split('%', 1)[0] ?? '';
  const mapped = /^::ffff:(?<inner>[\d.]+)$/iu.exec(bare)?.groups?.['inner'];
  return mapped !== undefined && isIPv4(mapped) ? mapped : bare;
}

function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  // The last 32 bits may be written as IPv4.
  const dotted = /[\d.]+$/u.exec(address)?.[0] ?? '';
  const text = isIPv4(dotted)
    ? address.slice(0, -dotted.length) +
      Buffer.from(dotted.split('.').map(Number)).toString('hex').replace(/^.{4}/u, '$&:')
    : address;
  const [left = '', right] = text.split('::');
  const groups = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => parseInt(group, 16));
  const head = groups(left);
  const tail = right === undefined ? [] : groups(right);
  const out = Buffer.alloc(16);
  head.forEach((group, index) => out.writeUInt16BE(group, 2 * index));
  tail.forEach((group, index) => out.writeUInt16BE(group, 16 - 2 * (tail.length - index)));
  return out;
}

/** The text of an address; IPv6 in full, which every parser takes. */
function formatAddress(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  return Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16)).join(':');
}

function malformed(why: string): TunnelError {
  return new TunnelError('protocol', `malformed PROXY header: ${why}`);
}
