/** frp's token method: proof of a secret without sending it (weak by design: MD5, no freshness; TLS protects it). */
import { createHash, timingSafeEqual } from 'node:crypto';

/** Lower-case hex MD5 of the secret and the decimal timestamp. */
export function authKey(secret: string, timestampSeconds: number): string {
  return createHash('md5').update(secret).update(String(timestampSeconds)).digest('hex');
}

/** Compares in constant time. */
export function isAuthKey(candidate: string, secret: string, timestampSeconds: number): boolean {
  const given = Buffer.from(candidate);
  const right = Buffer.from(authKey(secret, timestampSeconds));
  return given.length === right.length && timingSafeEqual(given, right);
}
