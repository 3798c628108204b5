/** Joins this terminal with a shell or command on a node: keys, sizes, escapes, and the terminal as it was afterwards. */
import { spawnSync } from 'node:child_process';
import type { Clock } from '../../../lib/clock.ts';
import type { ChannelExit, SshChannel } from '../../../ssh/channel.ts';
import { createIdleTimer } from '../../../ssh/idle.ts';
import { ESCAPE_HELP, EscapeFilter } from './escapes.ts';

/** This side's terminal; process.stdin and process.stdout fit. */
export interface LocalTerminal {
  input: NodeJS.ReadStream;
  output: NodeJS.WriteStream;
}

/** Who watches a session. */
export interface TerminalObserver {
  /** What the node wrote. */
  output(chunk: Buffer): void;
  resize(cols: number, rows: number): void;
}

/** How a terminal is joined. */
export interface TerminalOptions {
  clock: Clock;
  /** 0 for never. */
  idleTimeoutMs: number;
  observer?: TerminalObserver;
}

/** How a session at a terminal ended. */
export interface TerminalEnd extends ChannelExit {
  /** Why this side ended it; undefined when the node did. */
  endedBy: 'escape' | 'idle' | undefined;
  bytesIn: number;
  bytesOut: number;
}

/** The size of a terminal. Some have none, as those of programs that only look like one. */
export function sizeOf({ output }: LocalTerminal): { cols: number; rows: number } {
  return { cols: output.columns || 80, rows: output.rows || 24 };
}

/** Runs until the node's side has ended; the terminal is in raw mode meanwhile, and as before afterwards. */
export async function runAtTerminal(
  channel: SshChannel,
  terminal: LocalTerminal,
  { clock, idleTimeoutMs, observer }: TerminalOptions,
): Promise<TerminalEnd> {
  const { input, output } = terminal;
  const filter = new EscapeFilter();
  let endedBy: TerminalEnd['endedBy'];
  let bytesIn = 0;
  let bytesOut = 0;
  const leave = (why: 'escape' | 'idle'): void => {
    endedBy ??= why;
    abandon();
  };
  const idle = createIdleTimer(clock, idleTimeoutMs, () => leave('idle'));

  const onKeys = (chunk: Buffer): void => {
    idle.touch();
    const { data, actions } = filter.feed(chunk);
    if (data.length > 0) {
      bytesOut += data.length;
      if (!channel.io.write(data)) {
        input.pause();
        channel.io.once('drain', () => input.resume());
      }
    }
    for (const action of actions) {
      if (action === 'disconnect') leave('escape');
      else if (action === 'help') output.write(`\r\n${ESCAPE_HELP}\r\n`);
      else suspend();
    }
  };
  const onOutput = (chunk: Buffer): void => {
    idle.touch();
    bytesIn += chunk.length;
    observer?.output(chunk);
    if (!output.write(chunk)) {
      channel.io.pause();
      output.once('drain', () => channel.io.resume());
    }
  };
  const onResize = (): void => {
    const { cols, rows } = sizeOf(terminal);
    channel.resize(cols, rows);
    observer?.resize(cols, rows);
  };
  const suspend = (): void => {
    input.setRawMode(false);
    process.once('SIGCONT', () => {
      enterRawMode(input);
      onResize();
    });
    process.kill(process.pid, 'SIGTSTP');
  };

  let abandon = (): void => {};
  const abandoned = new Promise<ChannelExit>((resolve) => {
    // a node that does not answer would let us wait
    abandon = () => {
      channel.close();
      resolve({ status: undefined, signal: undefined });
    };
  });
  enterRawMode(input);
  input.on('data', onKeys);
  input.on('end', () => channel.io.end());
  output.on('resize', onResize);
  const { cols, rows } = sizeOf(terminal);
  channel.resize(cols, rows); // the window may have changed since the channel was asked for
  channel.io.on('data', onOutput);
  channel.stderr.resume(); // empty with a terminal
  try {
    const exit = await Promise.race([channel.exit, abandoned]);
    return { ...exit, endedBy, bytesIn, bytesOut };
  } finally {
    idle.stop();
    output.off('resize', onResize);
    input.off('data', onKeys);
    input.setRawMode(false);
    input.pause();
  }
}

/**
 * Raw both ways. The platform's raw mode still turns line feeds into two characters, which full-screen programs do not
 * expect; without stty they look a little wrong.
 */
function enterRawMode(input: NodeJS.ReadStream): void {
  input.setRawMode(true);
  spawnSync('stty', ['-opost'], { stdio: ['inherit', 'ignore', 'ignore'] });
}
