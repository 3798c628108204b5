/** What a DNS server is told, and its limits with their defaults. */
import type { HostPort } from '../lib/address.ts';
import type { Zone } from './zone.ts';

/** Limits; times in milliseconds. */
export interface DnsLimits {
  /** Queries that may wait for an upstream at once; more are answered SERVFAIL. */
  maxPending: number;
  /** Different questions asked of upstreams at once, each with its own socket; more are answered SERVFAIL. */
  maxOutstanding: number;
  /** One try at one upstream. */
  tryTimeoutMs: number;
  /** All tries of one question; below the 5 s after which stub resolvers give up on us. */
  totalTimeoutMs: number;
  /** How long a query waits while an expired answer is at hand (RFC 8767 5). */
  staleWaitMs: number;
  /** How long an expired answer is given at once after upstreams failed, before they are asked again. */
  staleRecheckMs: number;
  /** How long a question that no upstream could answer is not asked again: at first, at most (RFC 9520). */
  failureMs: number;
  maxFailureMs: number;
  /** Such questions remembered. */
  maxFailures: number;
  /** How long after its expiry an answer may still be served when upstreams fail. */
  staleMs: number;
  maxCacheEntries: number;
  maxCacheBytes: number;
  /** Finished UDP answers kept by the bytes of their query, and what those take together; all are forgotten beyond. */
  maxRemembered: number;
  maxRememberedBytes: number;
  /** TCP connections open at once; for one more the longest idle one is closed. */
  maxConnections: number;
  /** Queries of one TCP connection being answered at once; more are left unread. */
  maxPipelined: number;
  /** TCP connection without a whole query (RFC 7766 6.2.3). */
  idleTimeoutMs: number;
  /** Answers still owed when the server stops. */
  drainTimeoutMs: number;
}

/** Values that suit one pod or one node. */
export const DEFAULT_DNS_LIMITS: DnsLimits = {
  maxPending: 2048,
  maxOutstanding: 256,
  tryTimeoutMs: 1200,
  totalTimeoutMs: 4500,
  staleWaitMs: 1800,
  staleRecheckMs: 5000,
  failureMs: 1000,
  maxFailureMs: 30_000,
  maxFailures: 4096,
  staleMs: 86_400_000,
  maxCacheEntries: 10_000,
  maxCacheBytes: 8 * 1024 * 1024,
  maxRemembered: 16_384,
  maxRememberedBytes: 4 * 1024 * 1024,
  maxConnections: 256,
  maxPipelined: 32,
  idleTimeoutMs: 10_000,
  drainTimeoutMs: 1000,
};

/** Configuration of a DNS server. */
export interface DnsServerConfig {
  /** IP addresses; each gets UDP and TCP. Port 0 is a free port, the same for both. */
  listen: readonly HostPort[];
  zone: Zone;
  /** Where names that are not ours go, in order of preference; IP addresses. Addresses in `listen` are left out. */
  upstreams: readonly HostPort[];
  /** Answer clients that are not on this machine. Off: their packets are dropped, so nobody is amplified. */
  allowRemoteClients?: boolean;
  limits?: Partial<DnsLimits>;
}
