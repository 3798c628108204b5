/** Directories for one test, removed when it ends. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What of a test context is needed here; node:test's TestContext fits. */
export interface Cleanup {
  after(fn: () => void | Promise<void>): void;
}

/** Makes an empty directory that goes, with all that is in it, after the test. */
export function tempDir(t: Cleanup): string {
  const dir = mkdtempSync(join(tmpdir(), 'edge-test-'));
  // A process that ends late may still write into it: a few retries cover that.
  t.after(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 }));
  return dir;
}
