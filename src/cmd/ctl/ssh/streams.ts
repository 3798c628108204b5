/** Joins this program's streams with a command on a node, for programs and pipes: bytes as they are, at everybody's pace. */
import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../../../lib/clock.ts';
import { EdgeError, errorCode, errorMessage } from '../../../lib/errors.ts';
import type { ChannelExit, SshChannel } from '../../../ssh/channel.ts';
import { createIdleTimer } from '../../../ssh/idle.ts';

/** This side's streams. */
export interface LocalStreams {
  /** Absent for an empty one. */
  input?: Readable;
  output: Writable;
  errors: Writable;
}

/** How a command ended, and what passed. */
export interface StreamsEnd extends ChannelExit {
  isIdle: boolean;
  /** Whether the reader of the output left first. */
  isUnread: boolean;
  bytesIn: number;
  bytesOut: number;
}

/**
 * Runs until the command has ended and all its output is written. Rejects with EDGE_ERR_OUTPUT when it cannot be: the
 * command is ended then, because its status would say that all is well.
 */
export async function runWithStreams(
  channel: SshChannel,
  { input, output, errors }: LocalStreams,
  { clock, idleTimeoutMs }: { clock: Clock; idleTimeoutMs: number },
): Promise<StreamsEnd> {
  let failure: Error | undefined;
  const end = { isIdle: false, isUnread: false, bytesIn: 0, bytesOut: 0 };
  let abandon = (): void => {};
  const abandoned = new Promise<ChannelExit>((resolve) => {
    // an sshd answers when the command has ended, which may be never
    abandon = () => {
      channel.signal('TERM');
      channel.close();
      resolve({ status: undefined, signal: undefined });
    };
  });
  const idle = createIdleTimer(clock, idleTimeoutMs, () => {
    end.isIdle = true;
    abandon();
  });
  const copy = (from: Readable, to: Writable): void => {
    let isOpen = true;
    from.on('data', (chunk: Buffer) => {
      idle.touch();
      end.bytesIn += chunk.length;
      if (!isOpen || to.write(chunk)) return;
      from.pause();
      to.once('drain', () => from.resume());
    });
    // a reader that has seen enough (`| head`) ends the command, as it would here
    to.on('error', (err) => {
      isOpen = false;
      from.resume();
      if (errorCode(err) === 'EPIPE') end.isUnread = true;
      else failure ??= err;
      abandon();
    });
  };
  copy(channel.io, output);
  copy(channel.stderr, errors);
  const onInput = (chunk: Buffer): void => {
    idle.touch();
    end.bytesOut += chunk.length;
    if (channel.io.write(chunk)) return;
    input?.pause();
    channel.io.once('drain', () => input?.resume());
  };
  const onInputEnd = (): void => void channel.io.end();
  if (input === undefined) channel.io.end();
  else input.on('data', onInput).once('end', onInputEnd).once('error', onInputEnd);
  try {
    const exit = await Promise.race([channel.exit, abandoned]);
    if (failure !== undefined)
      throw new EdgeError('EDGE_ERR_OUTPUT', `the output cannot be written: ${errorMessage(failure)}`);
    return { ...exit, ...end };
  } finally {
    idle.stop();
    input?.off('data', onInput).off('end', onInputEnd).off('error', onInputEnd).pause();
  }
}
