/**
 * The two hellos that open a v2 control connection: what is offered, what is chosen, and the keys that both sides
 * derive from the token and the exact bytes exchanged.
 */
import { randomBytes } from 'node:crypto';
import { errorMessage } from '../../lib/errors.ts';
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { AEAD_ALGORITHMS, aeadStream, deriveAeadKey, transcriptHash } from './aead.ts';
import type { AeadAlgorithm, AeadDirection } from './aead.ts';
import { V2_FRAME } from './v2.ts';
import type { V2Frame } from './v2.ts';

/** What a client tells of its way in; informational. */
export interface Bootstrap {
  /** frp's `transport.protocol`. */
  transport: string;
  tls: boolean;
  tcpMux: boolean;
}

/** What the keys of a control connection come from, besides the token. */
export interface CryptoContext {
  algorithm: AeadAlgorithm;
  transcriptHash: Buffer;
}

/** Length of clientRandom and serverRandom, bytes. */
export const HELLO_RANDOM_BYTES = 32;
const CODEC = 'json';

/** One end of the handshake. */
export class V2Handshake {
  readonly #role: 'client' | 'server';
  #clientHello: Buffer | undefined;
  #context: CryptoContext | undefined;

  constructor(role: 'client' | 'server') {
    this.#role = role;
  }

  /** Whether both hellos were exchanged. */
  get isDone(): boolean {
    return this.#context !== undefined;
  }

  /** The client's hello, to be sent first. */
  open(bootstrap: Bootstrap): V2Frame {
    this.#clientHello = createClientHello(bootstrap, randomBytes(HELLO_RANDOM_BYTES));
    return { type: V2_FRAME.clientHello, payload: this.#clientHello };
  }

  /**
   * Takes the peer's hello. A server gets the answer to send, and with `problem` the reason to close behind it.
   * Throws TunnelError: protocol for a hello that has no place here or makes no sense, loginRefused for a refusal.
   */
  receive({ type, payload }: V2Frame): { answer?: V2Frame; problem?: string | undefined } {
    const wanted = this.#role === 'client' ? V2_FRAME.serverHello : V2_FRAME.clientHello;
    if (type !== wanted || this.isDone)
      throw new TunnelError('protocol', `peer sent a hello of type ${type} out of turn`);
    // The payload may be a slice of a larger buffer that lives on; the hash is taken at once.
    if (this.#role === 'client') {
      if (this.#clientHello === undefined)
        throw new TunnelError('protocol', 'server sent a hello without being asked');
      this.#context = acceptServerHello(this.#clientHello, payload);
      return {};
    }
    const answer = answerClientHello(payload, randomBytes(HELLO_RANDOM_BYTES));
    this.#context = answer.context;
    return { answer: { type: V2_FRAME.serverHello, payload: answer.payload }, problem: answer.problem };
  }

  /** Wraps the connection that follows the login. Throws TunnelError (protocol) when the hellos are missing. */
  secure(stream: ByteStream, token: string): ByteStream {
    if (this.#context === undefined) throw new TunnelError('protocol', 'peer sent no hello before the login');
    const { algorithm, transcriptHash: hash } = this.#context;
    const key = (direction: AeadDirection): Buffer => deriveAeadKey(token, hash, algorithm, direction);
    const [send, receive] =
      this.#role === 'client'
        ? [key('client-to-server'), key('server-to-client')]
        : [key('server-to-client'), key('client-to-server')];
    return aeadStream(stream, { send, receive });
  }
}

/** The payload of a ClientHello. */
export function createClientHello(bootstrap: Bootstrap, clientRandom: Buffer): Buffer {
  const { transport, tls, tcpMux } = bootstrap;
  return encode({
    // Members that are false are left out, as Go does.
    bootstrap: { transport, ...(tls ? { tls } : {}), ...(tcpMux ? { tcpMux } : {}) },
    capabilities: {
      message: { codecs: [CODEC] },
      crypto: { algorithms: AEAD_ALGORITHMS, clientRandom: clientRandom.toString('base64') },
    },
  });
}

/**
 * The payload of the ServerHello that answers a ClientHello, and the context they agree on; without a context the
 * payload tells the client why. Throws TunnelError (protocol) when the ClientHello cannot be read.
 */
export function answerClientHello(
  clientHello: Buffer,
  serverRandom: Buffer,
): { payload: Buffer; context: CryptoContext | undefined; problem: string | undefined } {
  const { message, crypto } = members(decode('ClientHello', clientHello), 'capabilities');
  const algorithm = texts(crypto, 'algorithms').find(isAlgorithm);
  const problem = !texts(message, 'codecs').includes(CODEC)
    ? 'unsupported message codec'
    : randomOf(crypto, 'clientRandom') === undefined
      ? `clientRandom is not ${HELLO_RANDOM_BYTES} bytes`
      : algorithm === undefined
        ? 'no supported crypto algorithm'
        : undefined;
  if (problem !== undefined || algorithm === undefined) {
    const payload = encode({ selected: { message: { codec: CODEC }, crypto: {} }, error: problem });
    return { payload, context: undefined, problem };
  }
  const payload = encode({
    selected: {
      message: { codec: CODEC },
      crypto: { algorithm, serverRandom: serverRandom.toString('base64') },
    },
  });
  return {
    payload,
    context: { algorithm, transcriptHash: transcriptHash(clientHello, payload) },
    problem: undefined,
  };
}

/** The context of both hellos. Throws TunnelError: loginRefused when the server says no, protocol when it chose badly. */
export function acceptServerHello(clientHello: Buffer, serverHello: Buffer): CryptoContext {
  const hello = decode('ServerHello', serverHello);
  const error = member(hello, 'error');
  if (typeof error === 'string' && error !== '')
    throw new TunnelError('loginRefused', `hello refused: ${error}`);
  const { message, crypto } = members(hello, 'selected');
  const codec = member(message, 'codec');
  if (codec !== CODEC) throw refusal(`message codec ${JSON.stringify(codec)} was not offered`);
  const algorithm = member(crypto, 'algorithm');
  if (!isAlgorithm(algorithm)) throw refusal(`crypto algorithm ${JSON.stringify(algorithm)} was not offered`);
  if (randomOf(crypto, 'serverRandom') === undefined) {
    throw refusal(`serverRandom is not ${HELLO_RANDOM_BYTES} bytes`);
  }
  return { algorithm, transcriptHash: transcriptHash(clientHello, serverHello) };
}

function refusal(why: string): TunnelError {
  return new TunnelError('protocol', `server sent a bad ServerHello: ${why}`);
}

function encode(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function decode(what: string, payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString());
  } catch (err) {
    throw new TunnelError('protocol', `peer sent a bad ${what}: ${errorMessage(err)}`, { cause: err });
  }
}

function isAlgorithm(value: unknown): value is AeadAlgorithm {
  return (AEAD_ALGORITHMS as readonly unknown[]).includes(value);
}

function members(hello: unknown, name: string): { message: unknown; crypto: unknown } {
  const parent = member(hello, name);
  return { message: member(parent, 'message'), crypto: member(parent, 'crypto') };
}

/** A member of an object, its name matched without case as Go does; undefined of anything else. */
function member(parent: unknown, name: string): unknown {
  if (typeof parent !== 'object' || parent === null || Array.isArray(parent)) return undefined;
  let found: unknown;
  for (const [key, value] of Object.entries(parent)) {
    if (key.toLowerCase() === name.toLowerCase()) found = value;
  }
  return found;
}

function texts(parent: unknown, name: string): string[] {
  const value = member(parent, name);
  return Array.isArray(value) ? value.filter((entry) => typeof entry === 'string') : [];
}

function randomOf(parent: unknown, name: string): Buffer | undefined {
  const value = member(parent, name);
  const bytes = typeof value === 'string' ? Buffer.from(value, 'base64') : Buffer.alloc(0);
  return bytes.length === HELLO_RANDOM_BYTES ? bytes : undefined;
}
