/** What the connections of a proxy get besides their wrapping: its bandwidth limit, and the header that names the user. */
import { isIPv6 } from 'node:net';
import type { Clock } from '../../lib/clock.ts';
import { limitedStream, parseBandwidth, TokenBucket } from '../bandwidth.ts';
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import type { MessageOf } from '../frp/message.ts';
import { encodeProxyHeader, plainAddress } from '../frp/proxy-protocol.ts';
import type { ProxyDefinition } from './types.ts';

/** Limits a connection. All connections of a proxy go through the one limiter it was given. */
export type StreamLimiter = (stream: ByteStream) => ByteStream;

/** The limiter of a proxy; changes nothing where the client has no limit to keep. Throws TunnelError (proxyRefused). */
export function createLimiter(definition: ProxyDefinition, clock: Clock): StreamLimiter {
  const { bandwidthLimit = '', bandwidthLimitMode = 'client' } = definition;
  const limit = parseBandwidth(bandwidthLimit);
  if (limit === undefined || bandwidthLimitMode === 'server') return (stream) => stream;
  const bucket = new TokenBucket(limit, clock);
  return (stream) => limitedStream(stream, bucket, clock);
}

/**
 * What the service reads first: the PROXY header, or nothing where none is wanted or the server names no user.
 * Undefined when the addresses make no header, which ends the connection as with frp.
 */
export function proxyHeader(
  definition: ProxyDefinition,
  start: MessageOf<'StartWorkConn'>['body'],
): Buffer | undefined {
  const { proxyProtocol, type } = definition;
  const isStream = type === 'tcp' || type === 'stcp';
  if (proxyProtocol === undefined || !isStream || start.src_addr === '' || start.src_port === 0) {
    return Buffer.alloc(0);
  }
  // A visitor's connection has no address at the server: loopback stands for it, in the user's family.
  const loopback = isIPv6(plainAddress(start.src_addr)) ? '::1' : '127.0.0.1';
  try {
    return encodeProxyHeader(proxyProtocol, {
      transport: 'tcp',
      sourceAddr: start.src_addr,
      sourcePort: start.src_port,
      destinationAddr: start.dst_addr === '' ? loopback : start.dst_addr,
      destinationPort: start.dst_port,
    });
  } catch (err) {
    if (err instanceof TunnelError) return undefined;
    throw err;
  }
}
