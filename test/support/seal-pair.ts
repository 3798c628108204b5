/** Two ends of a sealed stream over a link in memory, with a hand on the wire between them. */
import { createStreamPair } from './stream-pair.ts';
import type { PairEnd, StreamPairOptions } from './stream-pair.ts';
import type { ByteStream } from '../../src/tunnel/byte-stream.ts';
import { ProviderHandshake, VisitorHandshake } from '../../src/tunnel/seal/handshake.ts';
import type { SealParameters } from '../../src/tunnel/seal/handshake.ts';
import type { TransportKeys } from '../../src/tunnel/seal/noise.ts';
import { sealedStream } from '../../src/tunnel/seal/sealed-stream.ts';

/** Parameters that both ends of a test share. */
export const PARAMETERS: SealParameters = { service: 'web.default', psk: Buffer.alloc(32, 7), port: 80 };

/** The keys of one finished handshake, for both ends. */
export function agreedKeys(parameters: SealParameters = PARAMETERS): {
  visitor: TransportKeys;
  provider: TransportKeys;
} {
  const visitor = new VisitorHandshake(parameters);
  const { answer, keys } = new ProviderHandshake(parameters).answer(visitor.opening());
  return { visitor: visitor.finish(answer), provider: keys };
}

/** A sealed stream's two ends, and the raw ends beneath. */
export interface SealPair {
  visitor: ByteStream;
  provider: ByteStream;
  rawVisitor: PairEnd;
  rawProvider: PairEnd;
}

/** Creates a pair behind its handshake. */
export function createSealPair(options: StreamPairOptions = {}): SealPair {
  const [rawVisitor, rawProvider] = createStreamPair(options);
  const keys = agreedKeys();
  const nothing = Buffer.alloc(0);
  return {
    visitor: sealedStream(rawVisitor, keys.visitor, nothing),
    provider: sealedStream(rawProvider, keys.provider, nothing),
    rawVisitor,
    rawProvider,
  };
}
