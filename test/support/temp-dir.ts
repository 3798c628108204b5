/** Directories for one test, removed when it ends. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What of a test context is needed here; node:test's TestContext fits. */
export interface Cleanup {
  after(fn: () => void | Promise<void>): void;
}

/** Directories to look for once more at the end: a process that is ended later may have written again. */
const made = new Set<string>();

/** Makes an empty directory that goes, with all that is in it, after the test. */
export function tempDir(t: Cleanup): string {
  if (made.size === 0) process.once('exit', () => made.forEach(remove));
  const dir = mkdtempSync(join(tmpdir(), 'edge-test-'));
  made.add(dir);
  t.after(() => {
    try {
      remove(dir);
    } catch {
      // a process that is ended later writes into it at this moment: it goes at the end
    }
  });
  return dir;
}

function remove(dir: string): void {
  rmSync(dir, { recursive: true, force: true });
}
