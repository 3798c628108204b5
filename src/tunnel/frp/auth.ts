/** frp's token method: proof of a secret without sending it (weak by design: MD5, no freshness; TLS protects it). */
import { createHash, timingSafeEqual } from 'node:crypto';

/** The latest key: connections of one second ask for the same one several times each. */
let latest = { secret: '', timestampSeconds: NaN, key: '' };

/** Lower-case hex MD5 of the secret and the decimal timestamp. */
export function authKey(secret: string, timestampSeconds: number): string {
  if (latest.secret !== secret || latest.timestampSeconds !== timestampSeconds) {
    const key = createHash('md5').update(secret).update(String(timestampSeconds)).digest('hex');
    latest = { secret, timestampSeconds, key };
  }
  return latest.key;
}

/** Compares in constant time. */
export function isAuthKey(candidate: string, secret: string, timestampSeconds: number): boolean {
  const given = Buffer.from(candidate);
  const right = Buffer.from(authKey(secret, timestampSeconds));
  return given.length === right.length && timingSafeEqual(given, right);
}
