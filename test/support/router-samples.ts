/** Sample sessions, proxies and visitors as a tunnel server reports them. */
import type { ProxyInfo, SessionInfo, VisitorInfo } from '../../src/tunnel/frps/types.ts';

const EPOCH = new Date('2026-01-02T03:04:05Z');

/** A proxy; what is not given is empty. */
export function sampleProxy(name: string, fields: Partial<ProxyInfo> = {}): ProxyInfo {
  return {
    name,
    type: 'stcp',
    runId: 'run-1',
    user: '',
    clientId: '',
    remoteAddr: '192.0.2.7:51344',
    metas: {},
    annotations: {},
    remotePort: undefined,
    useEncryption: false,
    useCompression: false,
    bandwidthLimit: '',
    bandwidthLimitMode: 'client',
    group: '',
    groupKey: '',
    startedAt: EPOCH,
    isLost: false,
    connections: 0,
    totalConnections: 0,
    bytesIn: 0,
    bytesOut: 0,
    roundTripMs: undefined,
    ...fields,
  };
}

/** The metas a sidecar sets on a proxy. */
export function serviceMetas(
  service: string,
  namespace: string,
  port: number,
  protocol = 'TCP',
): Record<string, string> {
  return { service, namespace, port: String(port), protocol, node: 'node-1' };
}

/** A client that is logged in. */
export function sampleSession(fields: Partial<SessionInfo> = {}): SessionInfo {
  return {
    runId: 'run-1',
    user: '',
    clientId: '',
    version: '0.70.1',
    hostname: 'host-1',
    os: 'linux',
    arch: 'amd64',
    remoteAddr: '192.0.2.7:51344',
    metas: {},
    poolCount: 1,
    wireProtocol: 'v1',
    connectedAt: EPOCH,
    lastSeenAt: EPOCH,
    ...fields,
  };
}

/** A visitor's use of one target. */
export function sampleVisitor(target: string, fields: Partial<VisitorInfo> = {}): VisitorInfo {
  return {
    runId: 'run-2',
    user: '',
    clientId: '',
    version: '0.70.1',
    remoteAddr: '192.0.2.8:40000',
    target,
    type: 'stcp',
    metas: {},
    loginMetas: {},
    connectedAt: EPOCH,
    connections: 1,
    bytesIn: 0,
    bytesOut: 0,
    ...fields,
  };
}
