/** What wraps the payload of a proxied connection once its opening messages are done. */
import type { ByteStream } from '../byte-stream.ts';
import { TunnelError } from '../errors.ts';
import { cipherStream } from './cipher.ts';

/** How a leg of a proxied connection is wrapped; both ends of the leg agree on it beforehand. */
export interface PayloadWrapping {
  useEncryption: boolean;
  useCompression: boolean;
  /** Key of the encryption (deriveKey of the token or of the proxy's secret). */
  key: Buffer;
}

/** Wraps a stream. Throws TunnelError for compression, which this version does not carry. */
export function wrapPayload(stream: ByteStream, wrapping: PayloadWrapping): ByteStream {
  if (wrapping.useCompression) throw new TunnelError('protocol', 'useCompression is not supported');
  return wrapping.useEncryption ? cipherStream(stream, wrapping.key) : stream;
}
