/** Asks the person at the terminal, also when stdin and stdout are pipes; what is secret is not shown. */
import { closeSync, openSync } from 'node:fs';
import { ReadStream, WriteStream } from 'node:tty';
import { SshError } from '../../../ssh/errors.ts';
import { LineEditor } from './line-editor.ts';

/** Somebody who can be asked, one question at a time. */
export interface Prompter {
  /** The answer; undefined when there is nobody to ask. Rejects with EDGE_ERR_SSH_GIVEN_UP when they want no more. */
  ask(question: string, isEchoed: boolean): Promise<string | undefined>;
}

/** Nobody. */
export const NO_PROMPTER: Prompter = { ask: () => Promise.resolve(undefined) };

/** The person at the terminal that controls this process. */
export function createPrompter(path = '/dev/tty'): Prompter {
  let last: Promise<unknown> = Promise.resolve();
  return {
    ask(question, isEchoed) {
      const answer = last.then(() => askOnce(path, question, isEchoed));
      last = answer.catch(() => {}); // the asker hears of it
      return answer;
    },
  };
}

function askOnce(path: string, question: string, isEchoed: boolean): Promise<string | undefined> {
  let descriptor: number;
  try {
    descriptor = openSync(path, 'r+');
  } catch {
    return Promise.resolve(undefined); // no terminal: a program runs us
  }
  let input: ReadStream;
  let output: WriteStream;
  try {
    input = new ReadStream(descriptor);
    output = new WriteStream(openSync(path, 'w'));
  } catch (err) {
    closeSync(descriptor);
    return Promise.reject(err instanceof Error ? err : new Error(String(err)));
  }
  return new Promise((resolve, reject) => {
    const editor = new LineEditor();
    const finish = (answer: string | undefined): void => {
      input.setRawMode(false);
      output.write('\r\n', () => output.destroy());
      input.destroy();
      if (answer === undefined) reject(new SshError('given-up', 'nothing was answered'));
      else resolve(answer);
    };
    output.on('error', () => {}); // a terminal that is gone: the end of input tells
    input.on('error', () => finish(undefined));
    input.on('end', () => finish(undefined));
    input.setRawMode(true); // before the question: who answers at once is not shown either
    output.write(question);
    input.on('data', (chunk: Buffer) => {
      const { state, echo } = editor.feed(chunk);
      if (isEchoed && echo !== '') output.write(echo);
      if (state !== 'typing') finish(state === 'done' ? editor.text : undefined);
    });
  });
}
