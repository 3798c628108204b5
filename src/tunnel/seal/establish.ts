/**
 * Runs a handshake over a stream and gives back the sealed one. Nobody gets a stream before the other end has proved,
 * with a fresh key, that it has the service's secret; a failure closes the stream.
 */
import type { Clock } from '../../lib/clock.ts';
import { errorCode } from '../../lib/errors.ts';
import type { ByteStream } from '../byte-stream.ts';
import { linger } from '../linger.ts';
import { SEAL_ERRORS, SealError } from './errors.ts';
import { OPENING_BYTES, PREFIX_BYTES, ProviderHandshake, REFUSAL, VisitorHandshake } from './handshake.ts';
import type { SealParameters } from './handshake.ts';
import type { TransportKeys } from './noise.ts';
import { RECORD_OVERHEAD_BYTES, RecordReader, RecordWriter } from './records.ts';
import { sealedStream } from './sealed-stream.ts';

/** The whole handshake may take this long, milliseconds: as long as frp waits for an answer. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
/** A visitor that is refused gets this long to read it, milliseconds. */
const REFUSAL_LINGER_MS = 2000;
/** What a provider tells its visitor: the visitor made a mistake that its owner can mend. */
const SAID: ReadonlySet<string | undefined> = new Set([SEAL_ERRORS.secret, SEAL_ERRORS.misrouted]);

/** The visitor's end. Rejects with SealError: unsealed, refused, secret, timeout, closed; no payload was sent then. */
export function sealAsVisitor(
  stream: ByteStream,
  parameters: SealParameters,
  clock: Clock,
): Promise<ByteStream> {
  return run(stream, clock, parameters.service, 'visitor', async (exchange) => {
    const handshake = new VisitorHandshake(parameters);
    stream.write(handshake.opening());
    const bytes = handshake.answerBytes(await exchange.peek(PREFIX_BYTES));
    const keys = handshake.finish(await exchange.take(bytes));
    // Proves to the provider that this end is there now: an opening alone may be a repeated one.
    stream.write(new RecordWriter(keys.send).data(new Uint8Array()));
    return keys;
  });
}

/**
 * The provider's end. Rejects with SealError: unsealed, secret, misrouted, tampered, timeout, closed; nothing of what
 * the visitor sent may be used then.
 */
export function sealAsProvider(
  stream: ByteStream,
  parameters: SealParameters,
  clock: Clock,
): Promise<ByteStream> {
  return run(stream, clock, parameters.service, 'provider', async (exchange) => {
    const handshake = new ProviderHandshake(parameters);
    handshake.checkStart(await exchange.peek(PREFIX_BYTES));
    const { answer, keys } = handshake.answer(await exchange.take(OPENING_BYTES));
    stream.write(answer);
    const proof = new RecordReader(keys.receive);
    proof.push(await exchange.take(RECORD_OVERHEAD_BYTES));
    const record = proof.next();
    if (record === undefined || record.isEnd)
      throw new SealError('tampered', `${parameters.service}: the visitor did not prove its key first`);
    return keys;
  });
}

async function run(
  stream: ByteStream,
  clock: Clock,
  service: string,
  role: 'visitor' | 'provider',
  handshake: (exchange: Exchange) => Promise<TransportKeys>,
): Promise<ByteStream> {
  const exchange = new Exchange(stream, service);
  const timer = clock.after(HANDSHAKE_TIMEOUT_MS, () =>
    exchange.fail(new SealError('timeout', `${service}: no handshake within ${HANDSHAKE_TIMEOUT_MS} ms`)),
  );
  try {
    const keys = await handshake(exchange);
    return sealedStream(stream, keys, exchange.release());
  } catch (err) {
    if (role === 'provider' && SAID.has(errorCode(err))) {
      stream.write(REFUSAL);
      linger(stream, clock, REFUSAL_LINGER_MS);
    } else stream.destroy(err instanceof Error ? err : undefined);
    throw err;
  } finally {
    timer.cancel();
  }
}

/** Reads the few bytes of a handshake; the stream is paused whenever there are enough. */
class Exchange {
  readonly #stream: ByteStream;
  readonly #service: string;
  #bytes: Buffer = Buffer.alloc(0);
  #failure: Error | undefined;
  #waiting: { bytes: number; resolve(): void; reject(err: Error): void } | undefined;

  constructor(stream: ByteStream, service: string) {
    this.#stream = stream;
    this.#service = service;
    stream.setHandler({
      onData: (chunk) => {
        this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
        if (this.#bytes.length < (this.#waiting?.bytes ?? 0)) return;
        this.#stream.pause();
        this.#settle()?.resolve();
      },
      onEnd: () => this.fail(this.#closed()),
      onDrain: () => {},
      onClose: (err) => this.fail(this.#closed(err)),
    });
  }

  /** Waits for the first bytes and leaves them. */
  async peek(bytes: number): Promise<Buffer> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#bytes.length < bytes) {
      await new Promise<void>((resolve, reject) => {
        this.#waiting = { bytes, resolve, reject };
        this.#stream.resume();
      });
    }
    return this.#bytes.subarray(0, bytes);
  }

  /** Waits for the first bytes and takes them. */
  async take(bytes: number): Promise<Buffer> {
    const taken = await this.peek(bytes);
    this.#bytes = this.#bytes.subarray(bytes);
    return taken;
  }

  /** What is left, for the next owner of the stream. Throws when the stream failed meanwhile. */
  release(): Buffer {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#bytes;
  }

  fail(err: Error): void {
    this.#failure ??= err;
    this.#settle()?.reject(this.#failure);
  }

  #settle(): { resolve(): void; reject(err: Error): void } | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }

  #closed(cause?: Error): SealError {
    return new SealError('closed', `${this.#service}: the stream closed during the handshake`, { cause });
  }
}
