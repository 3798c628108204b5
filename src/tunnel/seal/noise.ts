/**
 * Noise_NNpsk0_25519_AESGCM_SHA256 (Noise Protocol Framework, revision 34): two messages, a fresh X25519 exchange
 * that the pre-shared key authenticates both ways. Pure but for key generation, which is injected.
 *
 *     -> psk, e
 *     <- e, ee
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  hkdfSync,
  randomBytes,
} from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { CipherState, KEY_BYTES, TAG_BYTES } from './aead.ts';

/** The name of the protocol, which every handshake hashes first. */
export const PROTOCOL_NAME = 'Noise_NNpsk0_25519_AESGCM_SHA256';
/** Bytes of an X25519 public key. */
export const PUBLIC_KEY_BYTES = 32;
/** Bytes that a handshake message has beyond its payload. */
export const MESSAGE_OVERHEAD_BYTES = PUBLIC_KEY_BYTES + TAG_BYTES;

/** An ephemeral key pair. */
export interface KeyPair {
  privateKey: KeyObject;
  /** The 32 bytes that travel. */
  publicBytes: Buffer;
}

/** Makes ephemeral key pairs; tests give known ones. */
export type KeyPairSource = () => KeyPair;

/** What both ends know beforehand. */
export interface HandshakeParameters {
  /** 32 bytes. */
  psk: Uint8Array;
  /** Bound to the handshake without being sent. */
  prologue: Uint8Array;
  keyPairs?: KeyPairSource;
}

/** The two directions of a finished handshake. */
export interface TransportKeys {
  send: CipherState;
  receive: CipherState;
  /** Unique to this handshake, equal at both ends. */
  handshakeHash: Buffer;
}

/** DER before a raw X25519 private key (RFC 8410): Node's key objects take no raw bytes in every release of 20. */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b656e04220420', 'hex');
/** Whether Node takes a private JWK whose public half is left empty, and computes it; Node 26 is the first that does not. */
let takesHalfJwk = true;

/**
 * A fresh pair from the machine's random source: any 32 bytes are an X25519 key (RFC 7748 5). Not by generateKeyPairSync:
 * on Node 20 a garbage collection during the export of a key that it made waits for ever for the lock that the export holds.
 */
export function generateKeyPair(): KeyPair {
  return keyPairFrom(randomBytes(KEY_BYTES));
}

/** The pair of a known private key of 32 bytes. */
export function keyPairFrom(privateBytes: Uint8Array): KeyPair {
  const privateKey = privateKeyFrom(privateBytes);
  return { privateKey, publicBytes: rawPublic(createPublicKey(privateKey)) };
}

/**
 * OpenSSL 3.0, which Node 20 and 22 have, looks 0.35 ms for a decoder of the DER form, ten times what the key itself costs;
 * as a JWK (RFC 8037 2) a key needs none. Releases that want the public half beforehand read DER quickly.
 */
function privateKeyFrom(bytes: Uint8Array): KeyObject {
  if (takesHalfJwk) {
    try {
      const d = Buffer.from(bytes).toString('base64url');
      return createPrivateKey({ key: { kty: 'OKP', crv: 'X25519', d, x: '' }, format: 'jwk' });
    } catch {
      takesHalfJwk = false;
    }
  }
  return createPrivateKey({
    key: Buffer.concat([PKCS8_PREFIX, bytes]),
    format: 'der',
    type: 'pkcs8',
  });
}

function rawPublic(key: KeyObject): Buffer {
  return Buffer.from(key.export({ format: 'jwk' }).x ?? '', 'base64url');
}

const NOTHING = Buffer.alloc(0);

/**
 * HKDF of Noise 4.3, `count` outputs: RFC 5869 with the chaining key as salt and an empty info. In one call: as HMACs on Node
 * 24, which takes its time to import a key for each, a handshake costs twice as much.
 */
function hkdf(chainingKey: Uint8Array, material: Uint8Array, count: 2): [Buffer, Buffer];
function hkdf(chainingKey: Uint8Array, material: Uint8Array, count: 3): [Buffer, Buffer, Buffer];
function hkdf(chainingKey: Uint8Array, material: Uint8Array, count: number): Buffer[] {
  const bytes = hkdfSync('sha256', material, chainingKey, '', count * KEY_BYTES);
  return Array.from({ length: count }, (_, at) => Buffer.from(bytes, at * KEY_BYTES, KEY_BYTES));
}

/** Noise 5.2, as far as this pattern needs it. */
class SymmetricState {
  #chainingKey: Buffer;
  /** Key of one text at most: the patterns' tokens set the next one before there is another text. */
  #key: Buffer | undefined;
  hash: Buffer;

  constructor(prologue: Uint8Array) {
    this.hash = Buffer.from(PROTOCOL_NAME, 'latin1'); // exactly 32 bytes: taken as it is
    this.#chainingKey = this.hash;
    this.mixHash(prologue);
  }

  mixHash(bytes: Uint8Array): void {
    this.hash = createHash('sha256').update(this.hash).update(bytes).digest();
  }

  mixKey(material: Uint8Array): void {
    [this.#chainingKey, this.#key] = hkdf(this.#chainingKey, material, 2);
  }

  mixKeyAndHash(material: Uint8Array): void {
    const [chainingKey, hash, key] = hkdf(this.#chainingKey, material, 3);
    this.#chainingKey = chainingKey;
    this.mixHash(hash);
    this.#key = key;
  }

  encryptAndHash(text: Uint8Array): Buffer {
    const sealed = Buffer.alloc(text.length + TAG_BYTES);
    this.#keyed().encryptInto(sealed, 0, text, this.hash);
    this.mixHash(sealed);
    return sealed;
  }

  decryptAndHash(sealed: Buffer): Buffer | undefined {
    const text = this.#keyed().decrypt(sealed, this.hash);
    if (text !== undefined) this.mixHash(sealed);
    return text;
  }

  split(): [CipherState, CipherState] {
    const [first, second] = hkdf(this.#chainingKey, NOTHING, 2);
    return [new CipherState(first), new CipherState(second)];
  }

  #keyed(): CipherState {
    // The first token of the pattern is psk, which sets a key before anything is encrypted.
    if (this.#key === undefined) throw new Error('a handshake without a key');
    return new CipherState(this.#key);
  }
}

function begin({ psk, prologue }: HandshakeParameters): SymmetricState {
  if (psk.length !== KEY_BYTES)
    throw new RangeError(`a pre-shared key has ${KEY_BYTES} bytes, not ${psk.length}`);
  const state = new SymmetricState(prologue);
  state.mixKeyAndHash(psk);
  return state;
}

/** Token `e` with a pre-shared key (Noise 9.2): the public key is hashed and mixed into the key. */
function mixEphemeral(state: SymmetricState, publicBytes: Uint8Array): void {
  state.mixHash(publicBytes);
  state.mixKey(publicBytes);
}

/** Token `ee`; undefined for a public key that yields the all-zero secret, which Node refuses. */
function mixExchange(state: SymmetricState, own: KeyPair, peerBytes: Uint8Array): true | undefined {
  let secret: Buffer;
  try {
    // As JWK (RFC 8037 2): OpenSSL takes ten times as long to find a decoder for the DER form.
    const x = Buffer.from(peerBytes).toString('base64url');
    const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
    secret = diffieHellman({ privateKey: own.privateKey, publicKey });
  } catch {
    return undefined; // a point of small order: nobody honest sends one
  }
  state.mixKey(secret);
  return true;
}

/** The visitor's half of a handshake: write() once, then read() once. */
export class Initiator {
  readonly #state: SymmetricState;
  readonly #own: KeyPair;

  constructor(parameters: HandshakeParameters) {
    this.#state = begin(parameters);
    this.#own = (parameters.keyPairs ?? generateKeyPair)();
  }

  /** The first message. Its payload is authentic, but neither fresh nor forward secret. */
  write(payload: Uint8Array): Buffer {
    mixEphemeral(this.#state, this.#own.publicBytes);
    return Buffer.concat([this.#own.publicBytes, this.#state.encryptAndHash(payload)]);
  }

  /** Reads the answer; undefined when it does not verify. */
  read(answer: Buffer): { payload: Buffer; keys: TransportKeys } | undefined {
    const peer = answer.subarray(0, PUBLIC_KEY_BYTES);
    if (answer.length < MESSAGE_OVERHEAD_BYTES) return undefined;
    mixEphemeral(this.#state, peer);
    if (mixExchange(this.#state, this.#own, peer) === undefined) return undefined;
    const payload = this.#state.decryptAndHash(answer.subarray(PUBLIC_KEY_BYTES));
    if (payload === undefined) return undefined;
    const [send, receive] = this.#state.split();
    return { payload, keys: { send, receive, handshakeHash: this.#state.hash } };
  }
}

/** The provider's half: read() once, then write() once. */
export class Responder {
  readonly #state: SymmetricState;
  readonly #keyPairs: KeyPairSource;
  #peer = Buffer.alloc(0);

  constructor(parameters: HandshakeParameters) {
    this.#state = begin(parameters);
    this.#keyPairs = parameters.keyPairs ?? generateKeyPair;
  }

  /** Reads the first message; undefined when it does not verify. */
  read(opening: Buffer): Buffer | undefined {
    if (opening.length < MESSAGE_OVERHEAD_BYTES) return undefined;
    this.#peer = Buffer.from(opening.subarray(0, PUBLIC_KEY_BYTES));
    mixEphemeral(this.#state, this.#peer);
    return this.#state.decryptAndHash(opening.subarray(PUBLIC_KEY_BYTES));
  }

  /** The answer; undefined when the peer's public key is worthless. */
  write(payload: Uint8Array): { answer: Buffer; keys: TransportKeys } | undefined {
    const own = this.#keyPairs();
    mixEphemeral(this.#state, own.publicBytes);
    if (mixExchange(this.#state, own, this.#peer) === undefined) return undefined;
    const answer = Buffer.concat([own.publicBytes, this.#state.encryptAndHash(payload)]);
    const [receive, send] = this.#state.split();
    return { answer, keys: { send, receive, handshakeHash: this.#state.hash } };
  }
}
