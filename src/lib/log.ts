/** Logging: one line an event with named fields, to stderr. Secrets and payloads never go in. */
import { errorMessage } from './errors.ts';

/** From most to least talkative. */
export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
/** A log level. */
export type LogLevel = (typeof LOG_LEVELS)[number];
/** The forms a line can take. */
export const LOG_FORMATS = ['text', 'json'] as const;
/** A log format. */
export type LogFormat = (typeof LOG_FORMATS)[number];

/** Named values of a line; an Error is written as its message. */
export type LogFields = Readonly<Record<string, unknown>>;

/** Writes events. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds these fields to each line. */
  with(fields: LogFields): Logger;
}

/** What a logger needs. */
export interface LoggerOptions {
  level: LogLevel;
  format: LogFormat;
  /** Takes one line without its line feed. */
  write: (line: string) => void;
  now?: () => Date;
  hasColor?: boolean;
}

const COLORS: Readonly<Record<LogLevel, string>> = { debug: '90', info: '36', warn: '33', error: '31' };

/** Whether output gets colours: it goes to a terminal and NO_COLOR is not set (https://no-color.org). */
export function wantsColor(isTerminal: boolean, env: NodeJS.ProcessEnv): boolean {
  return isTerminal && (env['NO_COLOR'] ?? '') === '';
}

/** Creates a logger. */
export function createLogger(options: LoggerOptions, base: LogFields = {}): Logger {
  const threshold = LOG_LEVELS.indexOf(options.level);
  const now = options.now ?? (() => new Date());
  const emit = (level: LogLevel, message: string, fields?: LogFields): void => {
    if (LOG_LEVELS.indexOf(level) < threshold) return;
    const all = fields === undefined ? base : { ...base, ...fields };
    const time = now().toISOString();
    options.write(
      options.format === 'json'
        ? JSON.stringify({ time, level, msg: message, ...plain(all) })
        : textLine(time, level, message, all, options.hasColor ?? false),
    );
  };
  return {
    debug: (message, fields) => emit('debug', message, fields),
    info: (message, fields) => emit('info', message, fields),
    warn: (message, fields) => emit('warn', message, fields),
    error: (message, fields) => emit('error', message, fields),
    with: (fields) => createLogger(options, { ...base, ...fields }),
  };
}

/** Drops everything; for tests and for code that runs without a log. */
export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  with: () => silentLogger,
};

function plain(fields: LogFields): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields))
    out[key] = value instanceof Error ? errorMessage(value) : value;
  return out;
}

function textLine(
  time: string,
  level: LogLevel,
  message: string,
  fields: LogFields,
  hasColor: boolean,
): string {
  const tag = level.toUpperCase().padEnd(5);
  const shown = hasColor ? `\u001B[${COLORS[level]}m${tag}\u001B[0m` : tag;
  let line = `${time} ${shown} ${message}`;
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    line += ` ${key}=${quoted(value)}`;
  }
  return line;
}

function quoted(value: unknown): string {
  const text =
    value instanceof Error ? errorMessage(value) : typeof value === 'string' ? value : JSON.stringify(value);
  return /^[^\s"=]+$/u.test(text) ? text : JSON.stringify(text);
}
