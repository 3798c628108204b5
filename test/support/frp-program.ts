/** Runs real frps and frpc with a configuration, for the length of a test. */
import { execFileSync, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { frpIni } from './frp-ini.ts';
import { requireProgram } from './programs.ts';
import type { Skippable } from './programs.ts';
import { tempDir } from './temp-dir.ts';
import { waitFor } from './wait.ts';

/** What a test may need of a real frp, and the first minor release that has it. */
const SINCE = {
  TLS: 25,
  'bandwidth limits': 30,
  'scopes of the token': 32,
  sudp: 33,
  'wrapped datagrams': 34,
  'TLS with certificates of clients': 34,
  'TLS without a marker': 38,
  'PROXY headers that name IPv4 addresses': 38,
  'bandwidth limits that the server keeps': 47,
  'users that may visit': 50,
  'configuration in TOML': 52,
  annotations: 55,
  'names of clients': 67,
  'PROXY headers in datagrams': 67,
  'wire protocol v2': 69,
} as const;

/** What worked before, and did again: the minor releases between. Their own frpc meets it too. */
const BROKEN = {
  /** frps waits for the old connection to end by itself before it answers the login. */
  'logins that replace a connection which is held': [62, 69],
} as const;

/** A feature that only some releases have. */
export type FrpFeature = keyof typeof SINCE | keyof typeof BROKEN;

/**
 * The path of a real frp program, as requireProgram finds it; the test is skipped where there is none, in CI too, and
 * where the program is older than what the test needs.
 */
export function requireFrp(
  t: Skippable,
  name: 'frps' | 'frpc',
  ...needs: (FrpFeature | false)[]
): string | undefined {
  const program = requireProgram(t, name, { optional: true });
  if (program === undefined) return undefined;
  const minor = minorOf(program);
  const missing = needs.find((need) => need !== false && !has(minor, need));
  if (missing === undefined) return program;
  t.skip(`${name} 0.${minor} lacks ${String(missing)}`);
  return undefined;
}

function has(minor: number, need: FrpFeature): boolean {
  if (need in SINCE) return minor >= SINCE[need as keyof typeof SINCE];
  const [from, to] = BROKEN[need as keyof typeof BROKEN];
  return minor < from || minor > to;
}

const minors = new Map<string, number>();

/** The minor release of a program; those of a later major release count as newer than all. */
function minorOf(program: string): number {
  const known = minors.get(program);
  if (known !== undefined) return known;
  const version = execFileSync(program, ['--version'], { encoding: 'utf8' }).trim();
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const found = major > 0 ? Infinity : minor;
  minors.set(program, found);
  return found;
}

/** Lines that older releases word otherwise. */
const OLD_LINES: Readonly<Record<string, string>> = { 'frps started': 'Start frps success' };

/**
 * Starts a real frp program with a configuration in TOML, which is rewritten for releases that only know INI, and waits
 * for a line of its output.
 */
export async function startFrp(t: TestContext, program: string, config: string, line: string): Promise<void> {
  const isIni = minorOf(program) < 52;
  const file = join(tempDir(t), isIni ? 'frp.ini' : 'frp.toml');
  await writeFile(file, isIni ? frpIni(config) : config);
  const child = spawn(program, ['-c', file], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  const onOutput = (chunk: Buffer): void => {
    output += chunk.toString();
  };
  child.stdout.on('data', onOutput);
  child.stderr.on('data', onOutput);
  const ended = new Promise<void>((resolve) => {
    child.on('exit', () => resolve());
  });
  t.after(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  const isSaid = (): boolean => output.includes(line) || output.includes(OLD_LINES[line] ?? line);
  await waitFor(isSaid, {
    what: `"${line}" from ${program}; it said:\n${output}`,
  }).catch((err: unknown) => {
    throw new Error(`no "${line}"; the program said:\n${output}`, { cause: err });
  });
}

/** How a client's configuration begins: the server, its token, and `common` settings. */
export function frpHead({ port }: { readonly port: number | undefined }, common = ''): string {
  return `serverAddr = "127.0.0.1"\nserverPort = ${port}\nauth.token = "secret"\n${common}\n`;
}
