/** The rules for a proxy's annotations: keys as Kubernetes has them, and a bound on all of them together. */

/** frps' limit, bytes of all keys and values. */
const MAX_TOTAL_BYTES = 256 * 1024;
const MAX_NAME_LENGTH = 63;
const MAX_PREFIX_LENGTH = 253;
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/u;
const PREFIX = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/u;

/** Why annotations cannot be taken; undefined when they can. */
export function annotationProblem(annotations: Readonly<Record<string, string>>): string | undefined {
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations)) {
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
    if (!isQualifiedName(key.toLowerCase())) return `annotation key ${key.slice(0, 100)} is invalid`;
  }
  return bytes > MAX_TOTAL_BYTES
    ? `annotations have ${bytes} bytes, the limit is ${MAX_TOTAL_BYTES}`
    : undefined;
}

function isQualifiedName(key: string): boolean {
  const parts = key.split('/');
  const name = parts.at(-1) ?? '';
  if (parts.length > 2 || name.length > MAX_NAME_LENGTH || !NAME.test(name)) return false;
  const prefix = parts.length === 2 ? (parts[0] ?? '') : undefined;
  return prefix === undefined || (prefix.length <= MAX_PREFIX_LENGTH && PREFIX.test(prefix));
}
