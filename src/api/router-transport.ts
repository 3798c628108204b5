/** What a Router's spec asks of the clients of its tunnel server, with the defaults filled in. Pure. */
import type { RouterSpec } from './gen/types.ts';

/** What the tunnel server asks of its clients. */
export interface RouterTransport {
  tcpMux: boolean;
  keepaliveMs: number;
  maxPoolCount: number;
  isTlsForced: boolean;
  additionalScopes: readonly ('HeartBeats' | 'NewWorkConns')[];
}

/** The transport of a Router; of one whose object is not known, frp's defaults. */
export function transportOf(spec: RouterSpec | undefined): RouterTransport {
  const transport = spec?.frps.transport;
  return {
    tcpMux: transport?.tcpMux ?? true,
    keepaliveMs: (transport?.tcpMuxKeepaliveInterval ?? 30) * 1000,
    maxPoolCount: transport?.maxPoolCount ?? 5,
    isTlsForced: transport?.tls?.force ?? false,
    additionalScopes: spec?.frps.auth?.additionalScopes ?? [],
  };
}
