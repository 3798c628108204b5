/** Join tokens: short-lived, good for one certificate, and kept as hashes only, in <data-dir>/join-tokens.json. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { badRequest, statusError, unauthorized } from '../../api/status.ts';
import { writeFileAtomic } from '../../lib/atomic-file.ts';
import type { Clock } from '../../lib/clock.ts';
import { EdgeError, errorCode, errorMessage } from '../../lib/errors.ts';
import { ROLES } from '../auth/roles.ts';
import type { Role } from '../auth/roles.ts';

/** Tokens that may wait for their use at once. */
const MAX_TOKENS = 200;
const SECRET_BYTES = 16;
const ID_BYTES = 4;

/** What a token allows. */
export interface JoinGrant {
  id: string;
  role: Role;
  /** The only node that may use it; any when absent. */
  node?: string;
  /** RFC 3339. */
  expires: string;
}

interface StoredToken extends JoinGrant {
  /** SHA-256 of the secret, hex. The secret has 128 random bits, so a slow hash would add nothing. */
  hash: string;
}

function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

function isStoredToken(value: unknown): value is StoredToken {
  const token = value as Partial<StoredToken> | null;
  return (
    typeof token?.id === 'string' &&
    typeof token.hash === 'string' &&
    typeof token.expires === 'string' &&
    ROLES.some((role) => role === token.role)
  );
}

/** The unused tokens of one API server. */
export class JoinTokens {
  readonly #path: string;
  readonly #clock: Clock;
  #last: Promise<unknown> = Promise.resolve();

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
  }

  /** Makes a token; resolves with its grant and its only readable form, `ID.SECRET`. */
  create(
    wanted: { role: Role; node?: string | undefined },
    ttlMs: number,
  ): Promise<{ grant: JoinGrant; token: string }> {
    return this.#exclusive(async () => {
      const tokens = await this.#read();
      if (tokens.length >= MAX_TOKENS)
        throw statusError('TooManyRequests', `${MAX_TOKENS} join tokens wait for their use`, {
          retryAfterSeconds: 60,
        });
      const secret = randomBytes(SECRET_BYTES).toString('hex');
      const grant: JoinGrant = {
        id: randomBytes(ID_BYTES).toString('hex'),
        role: wanted.role,
        ...(wanted.node === undefined ? {} : { node: wanted.node }),
        expires: new Date(this.#clock.wallNow().getTime() + ttlMs).toISOString(),
      };
      await this.#write([...tokens, { ...grant, hash: digest(secret).toString('hex') }]);
      return { grant, token: `${grant.id}.${secret}` };
    });
  }

  /** Uses a token up; throws a 401 Status when it is unknown, used, expired or for another node. */
  redeem(token: string, node: string): Promise<JoinGrant> {
    return this.#exclusive(async () => {
      const [id = '', secret = ''] = token.split('.');
      const tokens = await this.#read();
      const found = tokens.find((entry) => entry.id === id);
      const expected = Buffer.from(found?.hash ?? '', 'hex');
      const given = digest(secret);
      if (found === undefined || expected.length !== given.length || !timingSafeEqual(expected, given))
        throw unauthorized();
      if (found.node !== undefined && found.node !== node)
        throw badRequest(`the join token is for the node ${found.node}`);
      // gone from the disk before anything is issued for it
      await this.#write(tokens.filter((entry) => entry !== found));
      return found;
    });
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  /** The tokens that have not expired. */
  async #read(): Promise<StoredToken[]> {
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (err) {
      if (errorCode(err) === 'ENOENT') return [];
      throw new EdgeError('EDGE_ERR_JOIN_TOKENS', `read join tokens: ${errorMessage(err)}`, { cause: err });
    }
    try {
      const now = this.#clock.wallNow().getTime();
      const list = JSON.parse(text) as unknown;
      return (Array.isArray(list) ? list : [])
        .filter(isStoredToken)
        .filter(({ expires }) => Date.parse(expires) > now);
    } catch {
      return []; // unreadable tokens are no tokens: new ones are easily made
    }
  }

  async #write(tokens: readonly StoredToken[]): Promise<void> {
    await writeFileAtomic(this.#path, `${JSON.stringify(tokens)}\n`, 0o600);
  }
}
