/** The messages of the handshake around Noise: recognisable, of fixed size, with an answer for a peer that is refused. Pure. */
import { SealError } from './errors.ts';
import { prologueOf } from './keys.ts';
import { Initiator, MESSAGE_OVERHEAD_BYTES, Responder } from './noise.ts';
import type { KeyPairSource, TransportKeys } from './noise.ts';

/** Bytes in front of a handshake message: "ES", the version, the kind. */
export const PREFIX_BYTES = 4;
/** Bytes of the port in the opening. */
const PORT_BYTES = 2;
/** Bytes of the visitor's message. */
export const OPENING_BYTES = PREFIX_BYTES + MESSAGE_OVERHEAD_BYTES + PORT_BYTES;
/** Bytes of the provider's message. */
export const ANSWER_BYTES = PREFIX_BYTES + MESSAGE_OVERHEAD_BYTES;

const VERSION = 1;
const KIND = { opening: 1, answer: 2, refusal: 3 } as const;

/** What one end knows before the handshake. */
export interface SealParameters {
  /** `NAME.NAMESPACE`. */
  service: string;
  /** The service's pre-shared key. */
  psk: Uint8Array;
  /** The port of the service: what the visitor wants, 0 for any; what the provider has. */
  port: number;
  /** Whether both ends were told that the first byte inside says if the target took the connection. */
  isConfirmed?: boolean;
  keyPairs?: KeyPairSource;
}

/** The visitor's side. */
export class VisitorHandshake {
  readonly #noise: Initiator;
  readonly #parameters: SealParameters;

  constructor(parameters: SealParameters) {
    this.#parameters = parameters;
    this.#noise = new Initiator(noiseParameters(parameters));
  }

  /** The opening; once. */
  opening(): Buffer {
    const port = Buffer.alloc(PORT_BYTES);
    port.writeUInt16BE(this.#parameters.port);
    return Buffer.concat([prefix(KIND.opening), this.#noise.write(port)]);
  }

  /**
   * How many bytes the answer has, by its first PREFIX_BYTES. Throws SealError: unsealed when they are none of this
   * protocol, refused when the provider says no.
   */
  answerBytes(start: Buffer): number {
    const kind = kindOf(start);
    if (kind === KIND.answer) return ANSWER_BYTES;
    const { service } = this.#parameters;
    if (kind === KIND.refusal) {
      throw new SealError('refused', `${service}: the provider refused the handshake`, {
        hint: 'the two ends have different secrets, or something between them changes what they say',
      });
    }
    throw new SealError('unsealed', `${service}: the provider does not answer the handshake`);
  }

  /** Checks the answer. Throws SealError (secret) when it does not verify. */
  finish(answer: Buffer): TransportKeys {
    const read = this.#noise.read(answer.subarray(PREFIX_BYTES));
    if (read === undefined) throw wrongSecret(this.#parameters.service, 'provider');
    return read.keys;
  }
}

/** The provider's side. */
export class ProviderHandshake {
  readonly #noise: Responder;
  readonly #parameters: SealParameters;

  constructor(parameters: SealParameters) {
    this.#parameters = parameters;
    this.#noise = new Responder(noiseParameters(parameters));
  }

  /** Whether these bytes begin an opening; throws SealError (unsealed) when they do not. */
  checkStart(start: Buffer): void {
    if (kindOf(start) !== KIND.opening)
      throw new SealError(
        'unsealed',
        `${this.#parameters.service}: the visitor did not open with a handshake`,
      );
  }

  /**
   * Checks the opening and answers it. Throws SealError: secret when it does not verify, misrouted when the visitor
   * wants another port. The visitor has proved nothing yet: an opening can be a repeated one.
   */
  answer(opening: Buffer): { answer: Buffer; keys: TransportKeys } {
    const { service, port } = this.#parameters;
    const payload = this.#noise.read(opening.subarray(PREFIX_BYTES));
    if (payload === undefined) throw wrongSecret(service, 'visitor');
    const wanted = payload.readUInt16BE(0);
    if (wanted !== 0 && wanted !== port)
      throw new SealError('misrouted', `${service}: a visitor wants port ${wanted} and was led to ${port}`);
    const written = this.#noise.write(Buffer.alloc(0));
    if (written === undefined) throw wrongSecret(service, 'visitor');
    return { answer: Buffer.concat([prefix(KIND.answer), written.answer]), keys: written.keys };
  }
}

/** What a provider says before it closes on a visitor that it refuses. Anybody can send it. */
export const REFUSAL = prefix(KIND.refusal);

function noiseParameters({
  service,
  psk,
  isConfirmed = false,
  keyPairs,
}: SealParameters): ConstructorParameters<typeof Initiator>[0] {
  return { psk, prologue: prologueOf(service, isConfirmed), ...(keyPairs === undefined ? {} : { keyPairs }) };
}

function prefix(kind: number): Buffer {
  return Buffer.from([0x45, 0x53, VERSION, kind]);
}

function kindOf(start: Buffer): number | undefined {
  return start.length >= PREFIX_BYTES && start.readUIntBE(0, 3) === 0x455300 + VERSION ? start[3] : undefined;
}

function wrongSecret(service: string, peer: string): SealError {
  return new SealError('secret', `${service}: the handshake of the ${peer} does not verify`, {
    hint: 'the two ends have different secrets, or something between them changes what they say',
  });
}
