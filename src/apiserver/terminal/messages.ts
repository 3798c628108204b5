/**
 * What travels on a terminal's WebSocket. Binary frames are keystrokes one way and output the other. Text frames are JSON
 * messages, or keystrokes too where they are no message that is known. Pure.
 */
import { readLogin } from './login.ts';
import type { Login } from './login.ts';

/**
 * The subprotocol of clients that understand messages from here, and that acknowledge output once it has been shown:
 * browsers read on whatever their page can take. Others get output only, as fast as they read.
 */
export const TERMINAL_PROTOCOL = 'edge.terminal.v1';
/** A ticket travels as a subprotocol of this form, because browsers can set no other header. */
export const TICKET_PREFIX = 'edge.ticket.';

/** The size of a terminal. */
export interface TerminalSize {
  cols: number;
  rows: number;
}

/** What a client says. */
export type ClientMessage =
  | { kind: 'keys'; bytes: Buffer }
  | ({ kind: 'resize' } & TerminalSize)
  | { kind: 'auth'; login: Login }
  /** So many more bytes of output have been shown. */
  | { kind: 'ack'; bytes: number }
  /** A message that cannot be followed, and why. */
  | { kind: 'wrong'; why: string };

/** What a client that speaks TERMINAL_PROTOCOL is told. */
export type ServerMessage =
  /** The shell runs. */
  | { type: 'ready'; node: string; user: string; recorded: boolean }
  /** The shell has ended. */
  | { type: 'exit'; status: number | null; signal: string | null }
  /** It never came to a shell, or the connection broke. */
  | { type: 'error'; code: string; message: string };

const MAX_CELLS = 1000;
/** What a terminal is as long as nobody has said anything. */
export const DEFAULT_SIZE: TerminalSize = { cols: 80, rows: 24 };

/** Reads a frame. */
export function readMessage(data: Buffer, isBinary: boolean): ClientMessage {
  const keys: ClientMessage = { kind: 'keys', bytes: data };
  if (isBinary || data[0] !== 0x7b /* { */) return keys;
  let value: unknown;
  try {
    value = JSON.parse(data.toString('utf8'));
  } catch {
    return keys; // somebody types a brace
  }
  const fields = value as Readonly<Record<string, unknown>>;
  switch (fields['type']) {
    case 'resize': {
      const size = readSize(fields['cols'], fields['rows']);
      return size === undefined
        ? { kind: 'wrong', why: 'resize: wanted cols and rows' }
        : { kind: 'resize', ...size };
    }
    case 'cmd': {
      const { cmd } = fields;
      if (typeof cmd !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/u.test(cmd))
        return { kind: 'wrong', why: 'cmd: wanted base64' };
      return { kind: 'keys', bytes: Buffer.from(cmd, 'base64') };
    }
    case 'ack': {
      const { bytes } = fields;
      return Number.isSafeInteger(bytes) && (bytes as number) >= 0
        ? { kind: 'ack', bytes: bytes as number }
        : { kind: 'wrong', why: 'ack: wanted bytes' };
    }
    case 'auth':
      try {
        return { kind: 'auth', login: readLogin(fields) };
      } catch (err) {
        return { kind: 'wrong', why: err instanceof Error ? err.message : 'auth' };
      }
    default:
      return keys;
  }
}

/** Columns and rows out of numbers or their texts; undefined when they are no size. */
export function readSize(cols: unknown, rows: unknown): TerminalSize | undefined {
  const size = { cols: Number(cols ?? Number.NaN), rows: Number(rows ?? Number.NaN) };
  const isCount = (value: number): boolean => Number.isInteger(value) && value >= 1 && value <= MAX_CELLS;
  return isCount(size.cols) && isCount(size.rows) ? size : undefined;
}
