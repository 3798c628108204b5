/** A terminal under test: a tmux server of the test's own, whose screen is read and whose keys are typed. */
import { join } from 'node:path';
import { runProcess } from './processes.ts';
import type { TestLike } from './processes.ts';
import { requireProgram } from './programs.ts';
import type { Skippable } from './programs.ts';
import { tempDir } from './temp-dir.ts';
import { waitFor } from './wait.ts';

/** A terminal. */
export interface Tmux {
  /** Runs a command in a fresh window; its end is shown as `ended with STATUS`. */
  start(command: readonly string[], env: Readonly<Record<string, string>>): Promise<void>;
  /** Types a line and Return. */
  type(line: string): Promise<void>;
  /** Presses keys, by tmux's names. */
  keys(...names: string[]): Promise<void>;
  resize(cols: number, rows: number): Promise<void>;
  /** What is on the screen, empty lines at the end left out. */
  screen(options?: { escapes?: boolean }): Promise<string>;
  /** Waits until the screen matches. */
  waitFor(pattern: RegExp): Promise<void>;
}

/** Starts one, or skips the test where tmux is missing. */
export async function startTmux(
  t: TestLike & Skippable,
  size: { cols: number; rows: number },
): Promise<Tmux | undefined> {
  const program = requireProgram(t, 'tmux');
  if (program === undefined) return undefined;
  let socket = '';
  let isStarted = false;
  const tmux = async (...args: string[]): Promise<string> => {
    const done = await runProcess(program, ['-f', '/dev/null', '-S', socket, ...args], {
      env: { TMUX: undefined, LANG: 'C.UTF-8' },
    });
    if (done.status !== 0) throw new Error(`tmux ${args.join(' ')}: ${done.stderr}`);
    return done.stdout;
  };
  // before the directory goes, with the socket in it
  t.after(async () => {
    if (isStarted) await tmux('kill-server');
  });
  socket = join(tempDir(t), 'tmux');
  const { cols, rows } = size;
  await tmux('new-session', '-d', '-x', String(cols), '-y', String(rows), 'sh');
  isStarted = true;
  await tmux('set-option', '-g', 'status', 'off');
  await tmux('set-option', '-g', 'remain-on-exit', 'on');
  await tmux('set-option', '-g', 'window-size', 'manual');
  await tmux('resize-window', '-x', String(cols), '-y', String(rows));
  const screen: Tmux['screen'] = async ({ escapes = false } = {}) =>
    (await tmux('capture-pane', '-p', ...(escapes ? ['-e'] : []))).trimEnd();
  return {
    screen,
    async start(command, env) {
      const variables = Object.entries(env).flatMap(([name, value]) => ['-e', `${name}=${value}`]);
      const line = `${command.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')}; echo ended with $?; cat`;
      await tmux('respawn-pane', '-k', ...variables, `sh -c ${JSON.stringify(line).replaceAll('$', '\\$')}`);
      await tmux('clear-history');
    },
    async type(line) {
      await tmux('send-keys', '-l', line);
      await tmux('send-keys', 'Enter');
    },
    keys: async (...names) => void (await tmux('send-keys', ...names)),
    resize: async (width, height) =>
      void (await tmux('resize-window', '-x', String(width), '-y', String(height))),
    async waitFor(pattern) {
      let last = '';
      await waitFor(
        async () => {
          last = await screen();
          return pattern.test(last);
        },
        { what: `the screen matches ${String(pattern)}`, intervalMs: 50 },
      ).catch((err: unknown) => {
        throw new Error(`${String(err)}\n--- the screen:\n${last}\n---`, { cause: err });
      });
    },
  };
}
