/** The parts of the program that the build put, compressed, into the end of the executable (see build.mjs). */
import { fstatSync, readSync } from 'node:fs';
import { brotliDecompressSync } from 'node:zlib';

/** An open executable. */
export interface PackFile {
  path: string;
  /** Stays open, so that what is read a little later comes from it also when another build was put in its place. */
  fd: number;
  /** Where each pack stands: its distance from the end of the file, and its length. */
  places: Readonly<Record<string, readonly [fromEnd: number, length: number]>>;
}

/** Reads a pack as it is in the file, compressed. */
export function readPacked({ fd, places }: PackFile, name: string): Buffer {
  const [fromEnd, length] = places[name] ?? [0, 0];
  const text = Buffer.allocUnsafe(length);
  readSync(fd, text, 0, length, fstatSync(fd).size - fromEnd);
  return Buffer.from(text.toString('latin1'), 'base64');
}

/** Reads the text of a pack. Throws when the file is another one than the program was started from. */
export function readPack(file: PackFile, name: string): string {
  try {
    return brotliDecompressSync(readPacked(file, name)).toString();
  } catch (err) {
    // another build was put in its place since Node read this one
    throw new Error(`${file.path} was replaced while it started: start it again`, { cause: err });
  }
}
