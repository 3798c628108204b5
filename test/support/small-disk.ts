/** A small file system of its own for one test, to fill up. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Cleanup } from './temp-dir.ts';

/** Mounts a tmpfs for a test; gives why it cannot, where that is so. */
export function mountTmpfs(t: Cleanup, bytes: number): { dir: string } | { why: string } {
  if (process.getuid?.() !== 0) return { why: 'mounting a small file system needs root' };
  const dir = mkdtempSync(join(tmpdir(), 'edge-small-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', dir], { stdio: 'ignore' });
  } catch {
    rmSync(dir, { recursive: true });
    return { why: 'this system does not allow to mount a tmpfs' };
  }
  t.after(() => {
    execFileSync('umount', ['-l', dir]);
    rmSync(dir, { recursive: true });
  });
  return { dir };
}
