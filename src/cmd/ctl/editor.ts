/** Runs the user's editor on a text: in a file of its own, which stays when something goes wrong. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EdgeError } from '../../lib/errors.ts';

/** A file that is edited, perhaps several times. */
export interface EditedFile {
  readonly path: string;
  /** Shows a text in the editor, and gives what was saved. Rejects with EDGE_ERR_CTL_EDITOR. */
  edit(text: string): Promise<string>;
  /** Removes the file. */
  remove(): void;
}

/** The command line of the editor, as kubectl chooses it. */
export function editorCommand(env: NodeJS.ProcessEnv): string {
  return [env['KUBE_EDITOR'], env['EDITOR'], 'vi'].find((command) => (command ?? '') !== '') ?? 'vi';
}

/** Creates the file; its name ends with `suffix`, by which editors know the language. */
export function createEditedFile(suffix: string, env: NodeJS.ProcessEnv): EditedFile {
  const dir = mkdtempSync(join(tmpdir(), 'edge-edit-'));
  const path = join(dir, `object${suffix}`);
  const command = editorCommand(env);
  return {
    path,
    async edit(text) {
      writeFileSync(path, text, { mode: 0o600 });
      await run(command, path);
      return readFileSync(path, 'utf8');
    },
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** Through a shell, because the command may have arguments; the file is one of them and no part of the text. */
function run(command: string, path: string): Promise<void> {
  const problem = (why: string): EdgeError =>
    new EdgeError('EDGE_ERR_CTL_EDITOR', `there was a problem with the editor "${command}": ${why}`, {
      hint: 'name one that works with EDITOR or KUBE_EDITOR',
    });
  return new Promise((resolve, reject) => {
    const child = spawn('/bin/sh', ['-c', `${command} "$1"`, 'sh', path], { stdio: 'inherit' });
    // Ctrl-C is the editor's; this program goes on when the editor does
    const ignore = (): void => {};
    process.on('SIGINT', ignore);
    const settle = (done: () => void): void => {
      process.off('SIGINT', ignore);
      done();
    };
    child.on('error', (err) => settle(() => reject(problem(err.message))));
    child.on('exit', (code, signal) =>
      settle(() => (code === 0 ? resolve() : reject(problem(signal ?? `exit status ${code ?? 0}`)))),
    );
  });
}
