/** Programs under test as real processes: output captured, conditions awaited, always ended when the test is over. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { PATIENCE_MS, waitFor } from './wait.ts';

/** What of a test context is needed here; node:test's TestContext fits. */
export interface TestLike {
  after(fn: () => void | Promise<void>): void;
  diagnostic?(message: string): void;
  /** Whether the test has succeeded; absent on the first releases of Node 20. */
  readonly passed?: boolean;
}

/** How a program is started. */
export interface ProcessOptions {
  /** Added to the environment; undefined takes a variable away. */
  env?: Readonly<Record<string, string | undefined>>;
  cwd?: string;
  /** Written to standard input, which is then closed; without it standard input is empty. */
  input?: string | Buffer;
  /** How messages call the process; the program's name when absent. */
  name?: string;
}

/** How a process ended. */
export interface ProcessExit {
  status: number | null;
  signal: NodeJS.Signals | null;
}

/** What a program that ran to its end left. */
export interface ProcessResult {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** Kept of each output, bytes: enough for every test, and a process gone wild cannot fill memory. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
/** Longest wait for a process to go after SIGTERM: the drain's 10 s and a margin for a busy machine. */
const STOP_TIMEOUT_MS = 20_000;
/** How long the output of a process is read that has ended, when another one holds it open. */
const LEFTOVER_MS = 1000;
/** Lines of log in an error message. */
const TAIL_LINES = 30;

/** A program that runs beside a test. */
export class TestProcess {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<ProcessExit>;
  /** Resolves when the process has ended, also while others that it started hold its output open. */
  readonly #gone: Promise<void>;
  #exit: ProcessExit | undefined;
  #stdout = '';
  #stderr = '';

  constructor(command: string, args: readonly string[], options: ProcessOptions = {}) {
    this.name = options.name ?? command;
    const env: NodeJS.ProcessEnv = { ...process.env, ...options.env };
    this.#child = spawn(command, args, {
      env,
      stdio: [options.input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    this.#child.stdin?.on('error', () => {}); // a program may end without reading all its input
    this.#child.stdin?.end(options.input);
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout = (this.#stdout + text).slice(-MAX_OUTPUT_BYTES);
    });
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-MAX_OUTPUT_BYTES);
    });
    this.#gone = new Promise((resolve) => {
      this.#child.on('error', () => resolve()).on('exit', () => resolve());
    });
    this.#exited = new Promise((resolve) => {
      this.#child.on('error', (err) => {
        this.#stderr += `cannot start ${command}: ${err.message}\n`;
        this.#exit = { status: 127, signal: null };
        resolve(this.#exit);
      });
      // `close` comes after `exit`, when the last of the output is in.
      this.#child.on('close', (status, signal) => {
        this.#exit ??= { status, signal };
        resolve(this.#exit);
      });
    });
  }

  /** The process id; throws when the program could not be started. */
  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.name} did not start`);
    return this.#child.pid;
  }

  /** Standard output so far. */
  get stdout(): string {
    return this.#stdout;
  }

  /** Standard error so far; the log of edge's subcommands. */
  get stderr(): string {
    return this.#stderr;
  }

  /** How the process ended; undefined while it runs. */
  get exit(): ProcessExit | undefined {
    return this.#exit;
  }

  /** Resolves when the process has ended and all its output is read. */
  get exited(): Promise<ProcessExit> {
    return this.#exited;
  }

  /** The last lines of the log, for messages. */
  logTail(): string {
    const lines = `${this.#stdout}${this.#stderr}`.trimEnd().split('\n').slice(-TAIL_LINES);
    return `--- ${this.name}, last lines of its output:\n${lines.join('\n')}\n---`;
  }

  /** waitFor whose failure shows the log; fails at once when the process ends first. */
  async waitFor<T>(
    condition: () => T | Promise<T>,
    what: string,
    timeoutMs = PATIENCE_MS,
  ): Promise<NonNullable<T>> {
    let endedFirst: ProcessExit | undefined;
    const conditionOrEnd = async (): Promise<{ value: NonNullable<T> } | 'ended' | undefined> => {
      const exit = this.#exit; // looked at first: a condition that the last output meets still counts
      const value = await condition();
      if (isMet(value)) return { value };
      endedFirst = exit;
      return exit === undefined ? undefined : 'ended';
    };
    try {
      const outcome = await waitFor(conditionOrEnd, { what: `${this.name}: ${what}`, timeoutMs });
      if (outcome !== 'ended') return outcome.value;
      throw new Error(
        `${this.name}: ${what}: ended first${endedFirst === undefined ? '' : ` (${describe(endedFirst)})`}`,
      );
    } catch (err) {
      throw new Error(`${err instanceof Error ? err.message : String(err)}\n${this.logTail()}`, {
        cause: err,
      });
    }
  }

  /** Waits until the log or the output holds a whole line that matches, also one written earlier; resolves with it. */
  async waitForLine(pattern: RegExp, timeoutMs = PATIENCE_MS): Promise<string> {
    const find = () =>
      [this.#stdout, this.#stderr]
        .flatMap((text) => this.#wholeLines(text))
        .find((line) => pattern.test(line));
    return this.waitFor(find, `a line that matches ${String(pattern)}`, timeoutMs);
  }

  /** The rest of a line may be on its way, unless nothing comes any more. */
  #wholeLines(text: string): string[] {
    return text.split('\n').slice(0, this.#exit === undefined ? -1 : undefined);
  }

  /** Waits until `url` (plain HTTP) answers with the status. */
  async waitForHttp(url: string, status = 200, timeoutMs = PATIENCE_MS): Promise<void> {
    const look = async () => {
      const response = await fetch(url);
      await response.arrayBuffer(); // frees the connection
      return response.status === status;
    };
    await this.waitFor(() => look().catch(() => false), `${url} answers ${status}`, timeoutMs);
  }

  /** Sends a signal. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** SIGKILL, and waits until the process is gone. */
  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#exited;
  }

  /** For the end of a test: as kill(), but reads on only for a moment where others hold its output open. */
  async dispose(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#gone;
    const late = new Promise<void>((resolve) => {
      setTimeout(resolve, LEFTOVER_MS).unref();
    });
    await Promise.race([this.#exited, late]);
    this.#child.stdout?.destroy();
    this.#child.stderr?.destroy();
  }

  /** SIGTERM, and waits for the end. A process that has not gone in time is killed and fails the test. */
  async stop(timeoutMs = STOP_TIMEOUT_MS): Promise<ProcessExit> {
    this.#child.kill('SIGTERM');
    let handle: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      handle = setTimeout(() => resolve(undefined), timeoutMs);
    });
    const exit = await Promise.race([this.#exited, late]);
    clearTimeout(handle);
    if (exit !== undefined) return exit;
    await this.kill();
    throw new Error(`${this.name}: still running ${timeoutMs} ms after SIGTERM\n${this.logTail()}`);
  }

  /** Waits for the end and asserts its status. */
  async assertExit(status: number, timeoutMs = PATIENCE_MS): Promise<void> {
    const exit = await this.waitFor(() => this.#exit, 'the end', timeoutMs);
    if (exit.status === status) return;
    throw new Error(`${this.name}: ended with ${describe(exit)}, wanted status ${status}\n${this.logTail()}`);
  }
}

/**
 * Starts a program; it is killed after the test, whatever happens. The end of its log is shown when the test has
 * failed, all of it with EDGE_TEST_LOGS=1.
 */
export function startProcess(
  t: TestLike,
  command: string,
  args: readonly string[],
  options: ProcessOptions = {},
): TestProcess {
  const child = new TestProcess(command, args, options);
  t.after(async () => {
    await child.dispose();
    if (process.env['EDGE_TEST_LOGS'] === '1') t.diagnostic?.(`${child.name}:\n${child.stderr}`);
    else if (t.passed === false) t.diagnostic?.(child.logTail());
  });
  return child;
}

/** Runs a program to its end and resolves with its status and output; kills it after `timeoutMs`. */
export async function runProcess(
  command: string,
  args: readonly string[],
  options: ProcessOptions & { timeoutMs?: number } = {},
): Promise<ProcessResult> {
  const child = new TestProcess(command, args, options);
  const limit = setTimeout(() => child.signal('SIGKILL'), options.timeoutMs ?? 30_000);
  const { status } = await child.exited;
  clearTimeout(limit);
  return { status, stdout: child.stdout, stderr: child.stderr };
}

function isMet<T>(value: T): value is NonNullable<T> {
  return value !== undefined && value !== null && value !== false && value !== 0 && value !== '';
}

function describe(exit: ProcessExit): string {
  return exit.signal === null ? `status ${exit.status}` : exit.signal;
}
