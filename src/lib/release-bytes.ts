/** Memory that is given back at once. */

/**
 * Gives the memory behind `bytes` back to the system now; it would stay until the collector looks at everything, and that may
 * be hours. `bytes` and all other views of its memory are empty afterwards: it must be the caller's alone, and nothing may be
 * reading or writing it still. Short ones are left to the collector: Node cuts such buffers from a common pool.
 */
export function releaseBytes(bytes: Uint8Array<ArrayBuffer>): void {
  if (bytes.buffer.byteLength <= Buffer.poolSize) return;
  // whatever is in a message that nobody will receive is freed with its channel
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(null, [bytes.buffer]);
  port1.close();
  port2.close();
}
