/** The server's TLS context: made when the first connection needs it, kept until the certificates change. */
import { createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';
import { makeSelfSigned } from './certificate.ts';
import type { FrpServerConfig } from './types.ts';

/** See the file's first line. */
export class TlsContext {
  readonly #clock: Pick<Clock, 'wallNow'>;
  #made: { tls: FrpServerConfig['tls']; context: Promise<SecureContext> } | undefined;

  constructor(clock: Pick<Clock, 'wallNow'>) {
    this.#clock = clock;
  }

  /** The context for these settings. Rejects when they cannot be used; the next call tries again. */
  get(tls: FrpServerConfig['tls']): Promise<SecureContext> {
    const known = this.#made;
    if (known !== undefined && isSame(known.tls, tls)) return known.context;
    const context = this.#create(tls).catch((err: unknown) => {
      if (this.#made?.context === context) this.#made = undefined;
      throw err;
    });
    this.#made = { tls, context };
    return context;
  }

  async #create({ cert, key, clientCa }: FrpServerConfig['tls']): Promise<SecureContext> {
    const pair =
      cert === undefined || key === undefined ? await makeSelfSigned(this.#clock.wallNow()) : { cert, key };
    return createSecureContext({
      ...pair,
      minVersion: 'TLSv1.2',
      ...(clientCa === undefined ? {} : { ca: clientCa }),
    });
  }
}

function isSame(a: FrpServerConfig['tls'], b: FrpServerConfig['tls']): boolean {
  return a.cert === b.cert && a.key === b.key && a.clientCa === b.clientCa;
}
