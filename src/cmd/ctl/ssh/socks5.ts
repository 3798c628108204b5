/** The server's side of SOCKS 5 (RFC 1928) up to the connection: no authentication, CONNECT only. Pure. */

/** Where a client wants to go. */
export interface SocksTarget {
  host: string;
  port: number;
}

/** What a step of the handshake came to. */
export interface SocksStep {
  /** To send to the client. */
  reply?: Buffer;
  /** Where it wants to go; bytes that came after belong to the connection. */
  target?: SocksTarget;
  rest?: Buffer;
  /** The client asked for what there is not: to be closed after the reply. */
  isRefused?: boolean;
}

/** Reply codes (RFC 1928 section 6). */
export const SOCKS_OK = 0;
export const SOCKS_FAILED = 1;
const SOCKS_COMMAND_UNSUPPORTED = 7;
const SOCKS_ADDRESS_UNSUPPORTED = 8;

const VERSION = 5;
const CONNECT = 1;
const NO_AUTHENTICATION = 0;
const NO_METHOD = 0xff;
const [IPV4, DOMAIN, IPV6] = [1, 3, 4] as const;

/** The answer to a request; the address is unknown on this side, and no client needs it. */
export function socksReply(code: number): Buffer {
  return Buffer.from([VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]);
}

/** Reads a client's greeting and request. What it holds is bounded by the longest request, 262 bytes. */
export class SocksHandshake {
  #bytes = Buffer.alloc(0);
  #isGreeted = false;

  /** Takes bytes; the steps they complete, in order. */
  feed(chunk: Buffer): SocksStep[] {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    const steps: SocksStep[] = [];
    if (!this.#isGreeted) {
      const step = this.#greeting();
      if (step === undefined) return [];
      steps.push(step);
      if (step.isRefused === true) return steps;
      this.#isGreeted = true;
    }
    const step = this.#request();
    return step === undefined ? steps : [...steps, step];
  }

  #greeting(): SocksStep | undefined {
    const [version, count] = this.#bytes;
    if (version === undefined) return undefined;
    if (version !== VERSION) return { isRefused: true }; // SOCKS 4, or no SOCKS at all
    if (count === undefined || this.#bytes.length < 2 + count) return undefined;
    const isPossible = this.#bytes.subarray(2, 2 + count).includes(NO_AUTHENTICATION);
    this.#bytes = this.#bytes.subarray(2 + count);
    const reply = Buffer.from([VERSION, isPossible ? NO_AUTHENTICATION : NO_METHOD]);
    return isPossible ? { reply } : { reply, isRefused: true };
  }

  #request(): SocksStep | undefined {
    const bytes = this.#bytes;
    const [version, command, , type, first] = bytes;
    if (type === undefined) return undefined;
    if (version !== VERSION) return { isRefused: true };
    const refuse = (code: number): SocksStep => ({ reply: socksReply(code), isRefused: true });
    if (command !== CONNECT) return refuse(SOCKS_COMMAND_UNSUPPORTED);
    if (type !== IPV4 && type !== DOMAIN && type !== IPV6) return refuse(SOCKS_ADDRESS_UNSUPPORTED);
    if (first === undefined) return undefined;
    const [start, length] = type === IPV4 ? [4, 4] : type === IPV6 ? [4, 16] : [5, first];
    const end = start + length;
    if (bytes.length < end + 2) return undefined;
    const address = bytes.subarray(start, end);
    const host =
      type === DOMAIN
        ? address.toString('latin1')
        : type === IPV4
          ? address.join('.')
          : Array.from({ length: 8 }, (_, index) => address.readUInt16BE(index * 2).toString(16)).join(':');
    return { target: { host, port: bytes.readUInt16BE(end) }, rest: bytes.subarray(end + 2) };
  }
}
