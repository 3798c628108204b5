/** Limits and times of a mux session, with their defaults. */

/** Settings of a session. */
export interface YamuxConfig {
  /** Time between keep-alive pings, milliseconds. */
  keepaliveMs: number;
  /** A session that is silent this long after a ping is dead, milliseconds. */
  pingTimeoutMs: number;
  /** Largest receive window of a stream, bytes; windows grow up to it while a stream keeps pace. */
  maxWindowBytes: number;
  /** Frames queued for a peer that makes us answer and does not read; more end the session, bytes. */
  maxControlBacklogBytes: number;
  /** What all streams of the session may grow beyond their initial windows, together, bytes. */
  maxGrowthBytes: number;
  /** Streams open at once; more are reset (peer's) or refused (own). */
  maxStreams: number;
  /** Own streams that the peer has not acknowledged; further ones wait (the reference resets beyond 256). */
  maxUnacknowledged: number;
  /** A stream that the peer does not acknowledge this long is reset, milliseconds. */
  openTimeoutMs: number;
  /** A half-closed stream whose peer is silent this long is reset, milliseconds. */
  closeTimeoutMs: number;
}

/** The defaults: windows and times as frp 0.70 has them. */
export const DEFAULT_YAMUX_CONFIG: YamuxConfig = {
  keepaliveMs: 30_000,
  pingTimeoutMs: 10_000,
  maxWindowBytes: 6 * 1024 * 1024,
  maxControlBacklogBytes: 16 * 1024 * 1024,
  maxGrowthBytes: 128 * 1024 * 1024,
  maxStreams: 16_384,
  maxUnacknowledged: 256,
  openTimeoutMs: 75_000,
  closeTimeoutMs: 300_000,
};
