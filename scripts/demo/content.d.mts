/** Types of content.mjs, for the tests that move the same bytes. */

/** `sizeBytes` deterministic bytes in chunks, each block different. */
export function fileChunks(sizeBytes: number): Generator<Buffer>;
/** The SHA-256 (hex) of those bytes. */
export function sha256Of(sizeBytes: number): string;
