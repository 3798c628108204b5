/**
 * Who seals: what the two ends tell each other in frp's free metadata, and what follows. A Router sees, and could strip,
 * all of it, so an end that requires sealing asks nobody.
 */
import type { ByteStream } from '../byte-stream.ts';
import type { Clock } from '../../lib/clock.ts';
import { CONFIRM_METAS, confirmedStream, confirmingStream, offersConfirmation } from '../confirmation.ts';
import type { Confirmation } from '../confirmation.ts';
import { sealAsProvider, sealAsVisitor } from './establish.ts';
import type { SealParameters } from './handshake.ts';

/** Free metadata of a message or a proxy. */
type Metas = Readonly<Record<string, string>>;

/** The metadata of a message or a proxy whose sender can seal. */
export const SEAL_METAS = { seal: '1' } as const;

/** Whether metadata say that their sender can seal in this version. */
export function offersSeal(metas: Metas): boolean {
  return metas['seal'] === SEAL_METAS.seal;
}

/** What a Router passes on to both ends of a connection: that they can seal it, and confirm it, when both said so. */
export function agreedMetas(visitor: Metas, provider: Metas): Metas {
  return {
    ...(offersSeal(visitor) && offersSeal(provider) ? SEAL_METAS : {}),
    ...(offersConfirmation(visitor) && offersConfirmation(provider) ? CONFIRM_METAS : {}),
  };
}

/** The metadata of an end that seals by a policy, or not, and confirms, or not. */
export function offeredMetas(policy: SealPolicy | undefined, canConfirm: boolean | undefined): Metas {
  return { ...(policy === undefined ? {} : SEAL_METAS), ...(canConfirm === true ? CONFIRM_METAS : {}) };
}

/** How one end seals connections of a service. */
export interface SealPolicy extends SealParameters {
  /** Without it a connection goes unsealed when the other end, or the Router between, knows nothing of sealing. */
  isRequired: boolean;
}

/**
 * The visitor's end of an admitted connection: sealed, or the stream as it was, with its confirmation taken off where the
 * ends agreed on one. `answer` is what the Router passed on.
 */
export async function openPayload(
  stream: ByteStream,
  { seal, confirm = false }: { seal?: SealPolicy; confirm?: boolean },
  answer: Metas,
  clock: Clock,
): Promise<ByteStream> {
  const isConfirmed = confirm && offersConfirmation(answer);
  const payload = mustSeal(seal, answer)
    ? await sealAsVisitor(stream, { ...seal, isConfirmed }, clock)
    : stream;
  return isConfirmed ? confirmedStream(payload, answer['provider']) : payload;
}

/** What a provider gets of a connection. */
export interface AcceptedPayload {
  stream: ByteStream;
  isSealed: boolean;
  /** Present where the ends agreed on one. */
  confirmation?: Confirmation;
}

/** The provider's end of a connection; see openPayload. */
export async function acceptPayload(
  stream: ByteStream,
  { seal, confirm = false }: { seal?: SealPolicy; confirm?: boolean },
  request: Metas,
  clock: Clock,
): Promise<AcceptedPayload> {
  const isConfirmed = confirm && offersConfirmation(request);
  const isSealed = mustSeal(seal, request);
  const payload = isSealed ? await sealAsProvider(stream, { ...seal, isConfirmed }, clock) : stream;
  return isConfirmed ? { ...confirmingStream(payload, clock), isSealed } : { stream: payload, isSealed };
}

function mustSeal(policy: SealPolicy | undefined, metas: Metas): policy is SealPolicy {
  return policy !== undefined && (policy.isRequired || offersSeal(metas));
}
