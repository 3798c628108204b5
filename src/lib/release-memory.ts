/** Memory that is given back at once. */

/**
 * Gives memory back to the system now; it would stay until the collector looks at everything, and that may be hours. All views
 * of it are empty afterwards: it must be the caller's alone, and nothing may be reading or writing it still. Short buffers are
 * not: Node cuts them from a common pool, and refuses to give that away.
 */
export function releaseMemory(memory: ArrayBuffer): void {
  // whatever is in a message that nobody will receive is freed with its channel
  const { port1, port2 } = new MessageChannel();
  port1.postMessage(null, [memory]);
  port1.close();
  port2.close();
}
