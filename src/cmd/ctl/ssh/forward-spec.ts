/** The arguments of `-L`, `-R` and `-D`, as OpenSSH writes them. Pure. */
import { UsageError } from '../../../lib/errors.ts';

/** An address to listen on. */
export interface Listen {
  /** Empty for every address. */
  host: string;
  port: number;
}

/** A port here or there, and where its connections go. */
export interface Forward {
  listen: Listen;
  host: string;
  port: number;
}

const LOOPBACK = 'localhost';

/** `[BIND:]PORT:HOST:HOSTPORT`; IPv6 addresses in brackets. `flag` names it in errors. */
export function parseForward(text: string, flag: string): Forward {
  const parts = split(text);
  if (parts === undefined || (parts.length !== 3 && parts.length !== 4))
    throw new UsageError(`${flag}: "${text}" is not [BIND:]PORT:HOST:HOSTPORT`);
  const [bind, port = '', host = '', hostPort = ''] = parts.length === 3 ? [undefined, ...parts] : parts;
  if (host === '') throw new UsageError(`${flag}: "${text}" names no host`);
  return {
    listen: { host: bindHost(bind), port: parsePort(port, text, flag, 0) },
    host,
    port: parsePort(hostPort, text, flag, 1),
  };
}

/** `[BIND:]PORT`. */
export function parseDynamic(text: string, flag: string): Listen {
  const parts = split(text);
  if (parts === undefined || parts.length > 2) throw new UsageError(`${flag}: "${text}" is not [BIND:]PORT`);
  const [bind, port = ''] = parts.length === 1 ? [undefined, ...parts] : parts;
  return { host: bindHost(bind), port: parsePort(port, text, flag, 0) };
}

/** As in OpenSSH: nothing is loopback, empty and `*` every address. */
function bindHost(bind: string | undefined): string {
  return bind === undefined ? LOOPBACK : bind === '*' ? '' : bind;
}

function parsePort(text: string, whole: string, flag: string, least: number): number {
  const port = /^\d{1,5}$/u.test(text) ? Number(text) : Number.NaN;
  if (port >= least && port <= 65_535) return port;
  throw new UsageError(`${flag}: "${text}" in "${whole}" is not a port`);
}

/** The parts between colons, brackets taken off. */
function split(text: string): string[] | undefined {
  const parts: string[] = [];
  for (let rest = text; ;) {
    const match = /^(?:\[([^\]]*)\]|([^:[\]]*))(:|$)/u.exec(rest);
    if (match === null) return undefined;
    const [whole, bracketed, plain, separator] = match;
    parts.push(bracketed ?? plain ?? '');
    if (separator === '') return parts;
    rest = rest.slice(whole.length);
  }
}
