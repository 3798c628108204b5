/**
 * Terminal recordings in asciicast v2 (docs.asciinema.org/manual/asciicast/v2): one JSON line for the header, one an
 * event. The writer never passes its limit and never splits a character; nothing here needs Node.
 */
import type { Clock } from './clock.ts';
import { EdgeError } from './errors.ts';

/** What a recording begins with. */
export interface CastHeader {
  /** Columns and rows. */
  width: number;
  height: number;
  /** When it began, seconds since 1970. */
  timestamp?: number;
  title?: string;
  command?: string;
  env?: Readonly<Record<string, string>>;
}

/** What happened: output (`o`), input (`i`), a new size `COLSxROWS` (`r`), a marker (`m`). */
export interface CastEvent {
  /** Seconds since the beginning. */
  time: number;
  code: string;
  data: string;
}

/** A whole recording. */
export interface Cast {
  header: CastHeader;
  events: CastEvent[];
}

/** What a writer needs. */
export interface CastWriterDeps {
  clock: Clock;
  /** Takes the next lines of the file, with their line ends. */
  write: (text: string) => void;
  /** The longest file, bytes; what comes after is not recorded, and a last event says so. */
  maxBytes: number;
}

/** The code of a recording that cannot be read. */
export const CAST_ERROR = 'EDGE_ERR_CAST_FORMAT';
/** Room for the last event. */
const RESERVED_BYTES = 256;
/** More than any terminal has. */
const MAX_SIZE = 10_000;

/** Writes a recording as the session goes on. */
export class CastWriter {
  readonly #deps: CastWriterDeps;
  readonly #startedAt: number;
  readonly #decoder = new TextDecoder();
  readonly #encoder = new TextEncoder();
  #bytes = 0;
  #isTruncated = false;
  #isEnded = false;

  /** Writes the header. */
  constructor(header: CastHeader, deps: CastWriterDeps) {
    this.#deps = deps;
    this.#startedAt = deps.clock.now();
    this.#line({ version: 2, ...header });
  }

  /** Whether the limit was reached. */
  get isTruncated(): boolean {
    return this.#isTruncated;
  }

  /** How long the file is. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Records what the terminal was sent; a character may be split between two calls. */
  output(chunk: Uint8Array): void {
    if (!this.#isEnded) this.#event('o', this.#decoder.decode(chunk, { stream: true }));
  }

  /** Records a new size of the terminal. */
  resize(cols: number, rows: number): void {
    this.#event('r', `${cols}x${rows}`);
  }

  /** Writes what is left of a split character; nothing is recorded after it. */
  end(): void {
    if (this.#isEnded) return;
    this.#event('o', this.#decoder.decode());
    this.#isEnded = true;
  }

  #event(code: string, data: string): void {
    if (data === '' || this.#isEnded || this.#isTruncated) return;
    const time = Math.round((this.#deps.clock.now() - this.#startedAt) * 1000) / 1e6;
    if (this.#line([time, code, data])) return;
    this.#isTruncated = true;
    this.#line([time, 'm', `the recording ends here: it is limited to ${this.#deps.maxBytes} bytes`], 0);
  }

  /** Whether the line found room. */
  #line(value: unknown, reserved = RESERVED_BYTES): boolean {
    const text = `${JSON.stringify(value)}\n`;
    const bytes = this.#encoder.encode(text).length;
    if (this.#bytes + bytes + reserved > this.#deps.maxBytes) return false;
    this.#bytes += bytes;
    this.#deps.write(text);
    return true;
  }
}

/** Reads a recording; throws EdgeError that names the line. A last line that is cut short is left out. */
export function parseCast(text: string): Cast {
  const lines = text.split('\n');
  const isCut = lines.at(-1) !== '';
  const header = parseHeader(parseLine(lines[0] ?? '', 1));
  const events: CastEvent[] = [];
  let last = 0;
  for (const [index, line] of lines.entries()) {
    if (index === 0 || line.trim() === '') continue;
    if (isCut && index === lines.length - 1 && !isJson(line)) break; // the recorder died while it wrote
    const event = parseEvent(parseLine(line, index + 1), index + 1);
    // time that goes back would make a player wait for ever
    last = Math.max(last, event.time);
    events.push({ ...event, time: last });
  }
  return { header, events };
}

/** Columns and rows of an `r` event; undefined when it says something else. */
export function castSize(data: string): { cols: number; rows: number } | undefined {
  const [, cols, rows] = /^(\d{1,5})x(\d{1,5})$/u.exec(data) ?? [];
  if (cols === undefined || rows === undefined || !isSize(Number(cols)) || !isSize(Number(rows)))
    return undefined;
  return { cols: Number(cols), rows: Number(rows) };
}

function isSize(value: unknown): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_SIZE;
}

function isJson(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

function parseLine(line: string, number: number): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch (err) {
    throw broken(number, 'it is not JSON', err);
  }
}

function parseHeader(value: unknown): CastHeader {
  const header = value as (CastHeader & { version?: unknown }) | null;
  if (typeof header !== 'object' || header === null || header.version !== 2)
    throw broken(1, 'wanted the header of an asciicast v2 file');
  const { width, height, timestamp, title, command } = header as Readonly<Record<keyof CastHeader, unknown>>;
  if (!isSize(width) || !isSize(height)) throw broken(1, 'width and height are no size of a terminal');
  return {
    width,
    height,
    ...(typeof timestamp === 'number' ? { timestamp } : {}),
    ...(typeof title === 'string' ? { title } : {}),
    ...(typeof command === 'string' ? { command } : {}),
  };
}

function parseEvent(value: unknown, number: number): CastEvent {
  const [time, code, data] = Array.isArray(value) ? (value as unknown[]) : [];
  if (typeof time !== 'number' || !(time >= 0) || typeof code !== 'string' || typeof data !== 'string')
    throw broken(number, 'wanted [seconds, code, data]');
  return { time, code, data };
}

function broken(line: number, why: string, cause?: unknown): EdgeError {
  return new EdgeError(CAST_ERROR, `recording: line ${line}: ${why}`, { cause });
}
