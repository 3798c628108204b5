/** The public shapes of the frp client: what it is told, what it offers. */
import type { ConnectionOptions } from 'node:tls';
import type { ByteStream } from '../byte-stream.ts';
import type { Confirmation } from '../confirmation.ts';
import type { ProxyProtocolVersion } from '../frp/proxy-protocol.ts';
import type { WireProtocol } from '../frp/wire-protocol.ts';
import type { SealPolicy } from '../seal/negotiation.ts';

/** Where the tunnel server is. */
export type ServerAddress = { host: string; port: number } | { path: string };

/** TLS of a client; PEM. Without `ca` the server's certificate is not verified, as with frp. */
export interface FrpClientTls extends Pick<ConnectionOptions, 'ca' | 'cert' | 'key'> {
  /** The name to verify and to send (frp's `transport.tls.serverName`); the server's host when absent. */
  servername?: string;
  /** Sends frp's marker in front of TLS, which servers before 0.38 need. */
  customFirstByte?: boolean;
}

/** Configuration of one client, that is, of one server it logs in to. */
export interface FrpClientConfig {
  server: ServerAddress;
  /** frp's `auth.token`; empty when the server has none. */
  token: string;
  /** frp's `user`: prefix of proxy names and identity of visitors; empty for none. */
  user: string;
  /** Stable name for the server's dashboard; empty for none. */
  clientId: string;
  /** Free metadata of the login (frp `metadatas`). */
  metas: Readonly<Record<string, string>>;
  /** Work connections kept ready, 0 to 100. */
  poolCount: number;
  /** TLS to the server; undefined for none. */
  tls: FrpClientTls | undefined;
  /** What carries the connections (frp's `transport.protocol`); tcp when absent. TLS is inside the websocket. */
  transport?: 'tcp' | 'websocket';
  /** One connection for all streams (frp `transport.tcpMux`). */
  tcpMux: boolean;
  /** frp's `transport.wireProtocol`; v1 when absent, which servers before 0.69 need. */
  wireProtocol?: WireProtocol;
  /** Time between keep-alive pings, milliseconds. */
  keepaliveMs: number;
  /** Whether a path that is gone without a word is to be noticed within seconds, here and by an edge Router. Needs the mux. */
  isWatched?: boolean;
  /** Messages besides Login that carry proof of the token (frp `auth.additionalScopes`). */
  additionalScopes: readonly ('HeartBeats' | 'NewWorkConns')[];
}

/** One connection to a proxy, delivered to the provider. */
export interface ProviderConnection {
  stream: ByteStream;
  /** The user's address as the server sees it; absent for types without one. */
  sourceAddress?: string;
  sourcePort?: number;
  /** Whether the stream is sealed from end to end. */
  isSealed?: boolean;
  /** How to tell the visitor whether the target took the connection; absent when it does not listen for that. */
  confirmation?: Confirmation;
  /** How the session frames messages, for types that carry datagrams; v1 when absent. */
  wire?: WireProtocol;
}

/** A proxy that the client registers, now and after every reconnect. */
export interface ProxyDefinition {
  name: string;
  /** Connections of udp and sudp carry datagrams: they go to UdpProvider.serve(). */
  type: 'tcp' | 'stcp' | 'udp' | 'sudp';
  /** Secret of stcp and sudp. */
  secretKey?: string;
  /** Users whose visitors are admitted besides the own one; `*` for all. */
  allowUsers?: readonly string[];
  /** Port on the server, for tcp and udp; 0 lets the server choose. */
  remotePort?: number;
  useEncryption?: boolean;
  useCompression?: boolean;
  /** Seals connections from end to end; absent never does. Not for datagrams, which a server reframes. */
  seal?: SealPolicy;
  /** Whether its connections say if the target took them, to visitors that want to know. */
  confirm?: boolean;
  /** Most bytes a second over all connections, both directions together: a number and `KB` or `MB`; none when absent. */
  bandwidthLimit?: string;
  /** Who keeps to it; the client when absent, which counts bytes as they travel. The server counts payload. */
  bandwidthLimitMode?: 'client' | 'server';
  /** Group of tcp proxies that share their port (frp `loadBalancer`); its members have the same key. */
  group?: string;
  groupKey?: string;
  /** Begins what a tcp or stcp connection delivers with a PROXY header, where the server names the user. */
  proxyProtocol?: ProxyProtocolVersion;
  metas?: Readonly<Record<string, string>>;
  annotations?: Readonly<Record<string, string>>;
  /** Takes over one connection. Must not throw. */
  onConnection(connection: ProviderConnection): void;
}

/** The state of a registered proxy. */
export interface ProxyHandle {
  readonly name: string;
  /** `waiting` before the server answered or while offline, `running`, or `refused` (retried by itself). */
  readonly phase: 'waiting' | 'running' | 'refused';
  /** Why the server refused it. */
  readonly error: string | undefined;
  /** The address users reach it at, as the server reported it. */
  readonly remoteAddr: string | undefined;
  /** Unregisters it; connections under way go on. */
  close(): void;
}

/** What a visitor asks for. */
export interface VisitorRequest {
  /** Full proxy name, or `SERVICE.NAMESPACE` where the server balances services. */
  proxyName: string;
  secretKey: string;
  useEncryption?: boolean;
  useCompression?: boolean;
  /** Seals the connection from end to end; absent never does. */
  seal?: SealPolicy;
  /** Asks the provider to say whether its target took the connection; see confirmationOf(). */
  confirm?: boolean;
  /** Called when the server has let it in, before it is sealed; with the provider's proxy where the server names it. */
  onAdmitted?: (provider: string | undefined) => void;
  /** Passed to edge routers (`localAddr`, `sourceAddr`, `preferNode`, `avoid`); frps ignores it. */
  metas?: Readonly<Record<string, string>>;
}

/** The state of a client. `refused` is a login that the server denied (retried with back-off). */
export type FrpClientPhase = 'idle' | 'connecting' | 'online' | 'waiting' | 'refused' | 'stopped';

/** A client of one tunnel server; reconnects by itself with jittered back-off (first retry under 250 ms). */
export interface FrpClient {
  readonly phase: FrpClientPhase;
  /** Why it is not online; undefined when it is. */
  readonly lastError: Error | undefined;
  /** The run id the server gave; undefined before the first login. */
  readonly runId: string | undefined;
  /** Last measured round trip to the server, milliseconds. */
  readonly roundTripMs: number | undefined;
  /**
   * Asks the server for a sign of life, unless there was one a moment ago; for how long it has owed one, milliseconds. 0 when
   * it owes none, or there is no mux to ask over.
   */
  probe(): number;
  /** Starts connecting; returns at once. */
  start(): void;
  /** Closes the control connection and everything on it. */
  stop(): Promise<void>;
  /** Called after each change of `phase` or of a proxy's phase. One listener. */
  onChange(listener: () => void): void;
  /** Registers a proxy; the name must be free among this client's. */
  addProxy(definition: ProxyDefinition): ProxyHandle;
  /**
   * Opens a visitor connection. Rejects with EDGE_ERR_TUNNEL_OFFLINE when not online (at once),
   * EDGE_ERR_TUNNEL_VISITOR_REFUSED when the server says no, EDGE_ERR_TUNNEL_TIMEOUT after 10 s,
   * EDGE_ERR_TUNNEL_CLOSED when the connection breaks first, EDGE_ERR_SEAL_* when sealing it fails.
   * All are retryable elsewhere: no payload was sent.
   */
  openVisitor(request: VisitorRequest, signal?: AbortSignal): Promise<ByteStream>;
}
