/** What the first bytes of a connection to the bind port say about what follows. Pure. */

/** The kinds of peers that share the port. */
export type FirstBytes =
  /** A TLS ClientHello; `skip` bytes in front of it are frp's marker. */
  | { kind: 'tls'; skip: 0 | 1 }
  /** A mux session. */
  | { kind: 'mux' }
  /** An frp connection without a mux: a v1 message or the magic of v2. */
  | { kind: 'message' }
  /** An HTTP request, which may ask for a websocket. */
  | { kind: 'http' }
  | { kind: 'unknown' };

/** frp's marker in front of TLS. */
const TLS_MARKER = 0x17;
/** Content type of a TLS handshake record (RFC 8446 5.1). */
const TLS_HANDSHAKE = 0x16;
/** The version byte of the mux. */
const MUX_VERSION = 0;
/** v1 types that may begin a connection (Login, NewWorkConn, NewVisitorConn), and the first byte of v2's magic. */
const FIRST_MESSAGES = new Set(Buffer.from('owvF'));
/** What HTTP methods begin with. */
const HTTP_METHODS = new Set(Buffer.from('GHPDCOT'));

/** Classifies by the first byte, which tells all kinds apart. `isSecure`: TLS is off already. */
export function classifyFirstByte(byte: number, isSecure: boolean): FirstBytes {
  if (!isSecure && byte === TLS_MARKER) return { kind: 'tls', skip: 1 };
  if (!isSecure && byte === TLS_HANDSHAKE) return { kind: 'tls', skip: 0 };
  if (byte === MUX_VERSION) return { kind: 'mux' };
  if (FIRST_MESSAGES.has(byte)) return { kind: 'message' };
  if (HTTP_METHODS.has(byte)) return { kind: 'http' };
  return { kind: 'unknown' };
}
