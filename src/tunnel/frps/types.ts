/** The public shapes of the frp server: its configuration, what it reports, what it asks its owner. */

import type { WireProtocol } from '../frp/wire-protocol.ts';

/** A range of ports, both ends included. */
export interface PortRange {
  start: number;
  end: number;
}

/** Configuration of the server; every field may change while it runs (see FrpServer.reconfigure). */
export interface FrpServerConfig {
  bindAddr: string;
  /** 0 picks a free port (tests). */
  bindPort: number;
  /** A unix socket to accept tunnel connections on too. */
  socketPath: string | undefined;
  /** Where tcp proxies listen. */
  proxyBindAddr: string;
  /** Ports that clients may ask for; empty means any. */
  allowPorts: readonly PortRange[];
  /** 0 is no limit. */
  maxPortsPerClient: number;
  userConnTimeoutMs: number;
  udpPacketSize: number;
  /** frp's `auth.token`; empty for none. */
  token: string;
  /**
   * Further tokens that logins may prove, for the time of a rotation: give the clients the new one while both are
   * accepted, then leave the old one out. A session goes on with the token it logged in with.
   */
  acceptedTokens?: readonly string[];
  /** Whether clients are told why they are refused (frp `detailedErrorsToClient`); true when absent. */
  detailedErrorsToClient?: boolean;
  additionalScopes: readonly ('HeartBeats' | 'NewWorkConns')[];
  /** Time between keep-alive pings of a multiplexed connection, milliseconds. */
  keepaliveMs: number;
  /** Time without a heartbeat before a client is dropped, milliseconds; -1: never for multiplexed clients, 90 s for others. */
  heartbeatTimeoutMs: number;
  maxPoolCount: number;
  tls: {
    /** Refuse connections without TLS. */
    force: boolean;
    /** PEM; a self-signed certificate is made when absent. */
    cert: string | undefined;
    key: string | undefined;
    /** PEM; client certificates are required and verified when present. */
    clientCa: string | undefined;
  };
  limits: {
    /** Time to classify a connection and to log in, milliseconds. */
    loginTimeoutMs: number;
    /** Connections that have not logged in, and have not shown that they belong to a login. */
    maxPendingConnections: number;
    maxSessions: number;
    maxStreamsPerSession: number;
    /** Streams of a client that have not said what they are for. */
    maxUnidentifiedStreams: number;
    /** Largest receive window of a stream, bytes. */
    maxWindowBytes: number;
    /** All that waits for peers that do not take it, bytes. */
    maxQueuedBytes: number;
    maxProxiesPerSession: number;
    /** Admitted visitor connections that wait for a work connection, a proxy. */
    maxQueuedVisitors: number;
  };
}

/** A client that is logged in. */
export interface SessionInfo {
  runId: string;
  user: string;
  clientId: string;
  version: string;
  hostname: string;
  os: string;
  arch: string;
  remoteAddr: string;
  metas: Readonly<Record<string, string>>;
  poolCount: number;
  wireProtocol: WireProtocol;
  connectedAt: Date;
  lastSeenAt: Date;
}

/** A registered proxy. Counts are of the proxy's life so far; In is user → client, Out client → user. */
export interface ProxyInfo {
  name: string;
  type: string;
  runId: string;
  user: string;
  clientId: string;
  remoteAddr: string;
  metas: Readonly<Record<string, string>>;
  annotations: Readonly<Record<string, string>>;
  /** Port on the server, for tcp and udp. */
  remotePort: number | undefined;
  useEncryption: boolean;
  useCompression: boolean;
  bandwidthLimit: string;
  bandwidthLimitMode: string;
  group: string;
  groupKey: string;
  startedAt: Date;
  /** Whether its client, which asked to be watched, has given no sign of life for seconds. */
  isLost: boolean;
  /** Open connections now. */
  connections: number;
  totalConnections: number;
  bytesIn: number;
  bytesOut: number;
  /** Last measured round trip to the client, milliseconds; undefined before the first, and without a mux. */
  roundTripMs: number | undefined;
}

/** A visitor's use of one target: all its open connections to it together. */
export interface VisitorInfo {
  runId: string;
  user: string;
  clientId: string;
  version: string;
  remoteAddr: string;
  /** What it asked for: a proxy name or a service. */
  target: string;
  /** Of the proxy that its latest connection reached: stcp or sudp. */
  type: string;
  /** Metadata of its latest connection (`localAddr`). */
  metas: Readonly<Record<string, string>>;
  /** Metadata of its login (`pod`, `node`). */
  loginMetas: Readonly<Record<string, string>>;
  connectedAt: Date;
  connections: number;
  bytesIn: number;
  bytesOut: number;
}

/** A visitor connection that asks for a name no proxy has. */
export interface TargetRequest {
  name: string;
  /** Address of the visitor's own user where it told (`sourceAddr`), else of the visitor. */
  sourceAddr: string;
  /** The node whose proxies the visitor wants if there are any; empty for none. */
  preferNode: string;
  /** Proxies that the visitor had no luck with: taken when there is nothing else. */
  avoid: ReadonlySet<string>;
  /** Whether the visitor's key opens this proxy and its user is admitted. */
  admits: (proxyName: string) => boolean;
}

/** What the server asks and tells its owner. Hooks must not throw. */
export interface FrpServerHooks {
  /** Picks the provider for a name that is no proxy's; undefined refuses the visitor. */
  pickProvider?(request: TargetRequest): string | undefined;
  /** Something that `sessions`, `proxies` or `visitors` report changed; called often, so coalesce. */
  onChange?(): void;
  /** A proxy closed; these are its last counts. */
  onProxyClosed?(proxy: ProxyInfo): void;
  /** A client is gone. */
  onSessionClosed?(session: SessionInfo): void;
}

/** Counters of the server's life. */
export interface FrpServerTotals {
  bytesIn: number;
  bytesOut: number;
  connections: number;
  openConnections: number;
  refusedLogins: number;
  /** Bytes that wait for peers that do not take them. */
  queuedBytes: number;
  /** Connections dropped because too much waited for them. */
  droppedConnections: number;
}

/** The tunnel server. */
export interface FrpServer {
  /** The bound port; undefined before start(). */
  readonly port: number | undefined;
  /** Listens; rejects with EDGE_ERR_LISTEN. */
  start(): Promise<void>;
  /** Stops accepting, waits up to `drainMs` for open connections, then closes everything. */
  stop(drainMs: number): Promise<void>;
  /**
   * Serves again, with another configuration, while stop() still waits for connections: sessions and connections stay.
   * False when there is nothing left to take up. Rejects with EDGE_ERR_LISTEN, and goes on stopping.
   */
  resume(config: FrpServerConfig): Promise<boolean>;
  /**
   * Applies a changed configuration. Sessions and connections stay; a changed address is bound before the old
   * one is released, and when that fails the old configuration stays in force and the call rejects.
   */
  reconfigure(config: FrpServerConfig): Promise<void>;
  sessions(): SessionInfo[];
  proxies(): ProxyInfo[];
  visitors(): VisitorInfo[];
  totals(): FrpServerTotals;
}
