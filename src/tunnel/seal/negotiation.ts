/**
 * Who seals: what the two ends tell each other in frp's free metadata, and what follows. A Router sees, and could strip,
 * all of it, so an end that requires sealing asks nobody.
 */
import type { ByteStream } from '../byte-stream.ts';
import type { Clock } from '../../lib/clock.ts';
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

/** What a Router passes on to both ends of a connection: that they can seal it, when both said so. */
export function agreedMetas(visitor: Metas, provider: Metas): Metas {
  return offersSeal(visitor) && offersSeal(provider) ? SEAL_METAS : {};
}

/** How one end seals connections of a service. */
export interface SealPolicy extends SealParameters {
  /** Without it a connection goes unsealed when the other end, or the Router between, knows nothing of sealing. */
  isRequired: boolean;
}

/** The visitor's end of an admitted connection: sealed, or the stream as it was. `answer` is what the Router passed on. */
export async function openPayload(
  stream: ByteStream,
  policy: SealPolicy | undefined,
  answer: Metas,
  clock: Clock,
): Promise<ByteStream> {
  return mustSeal(policy, answer) ? sealAsVisitor(stream, policy, clock) : stream;
}

/** The provider's end of a connection; see openPayload. */
export async function acceptPayload(
  stream: ByteStream,
  policy: SealPolicy | undefined,
  request: Metas,
  clock: Clock,
): Promise<ByteStream> {
  return mustSeal(policy, request) ? sealAsProvider(stream, policy, clock) : stream;
}

function mustSeal(policy: SealPolicy | undefined, metas: Metas): policy is SealPolicy {
  return policy !== undefined && (policy.isRequired || offersSeal(metas));
}
