/** What wraps the payload of a proxied connection once its opening messages are done. */
import type { ByteStream } from '../byte-stream.ts';
import { cipherStream } from './cipher.ts';
import { snappyStream } from './snappy.ts';

/** How a leg of a proxied connection is wrapped; both ends of the leg agree on it beforehand. */
export interface PayloadWrapping {
  useEncryption: boolean;
  useCompression: boolean;
  /** Key of the encryption (deriveKey of the token or of the proxy's secret). */
  key: Buffer;
}

/** Wraps a stream: what is written is compressed first and encrypted then, as frp does. */
export function wrapPayload(stream: ByteStream, wrapping: PayloadWrapping): ByteStream {
  const sealed = wrapping.useEncryption ? cipherStream(stream, wrapping.key) : stream;
  return wrapping.useCompression ? snappyStream(sealed) : sealed;
}
