/** Notices that files changed, also when they are swapped through a symlink as Kubernetes does with volumes. */
import { stat } from 'node:fs/promises';
import { sleep } from './clock.ts';
import type { Clock, Timer } from './clock.ts';

/** Watches some files. */
export interface FileWatch {
  /** Replaces the set of files. What they are like now counts as unchanged, so read them after this, not before. */
  watch(paths: readonly string[]): Promise<void>;
  /** For good: watch() does nothing from now on. */
  stop(): void;
}

/** Polling, since inotify loses its file when a directory's symlink is swapped; one stat a file a second is nothing. */
const PERIOD_MS = 1000;

/** A file that is written in place is empty for a moment, which must not be taken for a list without services. */
const SETTLE_MS = 50;
/** A file that never rests is read all the same. */
const MAX_SETTLE_LOOKS = 20;

/** Creates a watch; `onChange` is called once for all files that changed within a period. */
export function createFileWatch(clock: Clock, onChange: () => void): FileWatch {
  let marks = new Map<string, string>();
  let timer: Timer | undefined;
  let isChecking = false;
  let isStopped = false;
  /** Guards against a check that was under way while the set was replaced. */
  let generation = 0;

  const check = async (): Promise<void> => {
    if (isChecking) return; // a file system that hangs must not pile up checks
    isChecking = true;
    const started = generation;
    try {
      let now = await marksOf([...marks.keys()]);
      if (started !== generation || isSame(now, marks)) return;
      for (let look = 0; look < MAX_SETTLE_LOOKS; look++) {
        await sleep(clock, SETTLE_MS);
        const later = await marksOf([...marks.keys()]);
        const isSettled = isSame(later, now);
        now = later;
        if (isSettled) break;
      }
      if (started !== generation) return;
      marks = now;
      onChange();
    } finally {
      isChecking = false;
    }
  };

  return {
    async watch(paths) {
      const started = ++generation;
      const now = await marksOf(paths);
      if (started !== generation || isStopped) return;
      marks = now;
      timer?.cancel();
      timer = marks.size === 0 ? undefined : clock.every(PERIOD_MS, () => void check());
    },
    stop() {
      isStopped = true;
      generation++;
      timer?.cancel();
      timer = undefined;
    },
  };
}

function isSame(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return [...a].every(([path, mark]) => b.get(path) === mark);
}

async function marksOf(paths: readonly string[]): Promise<Map<string, string>> {
  const entries = await Promise.all(paths.map(async (path) => [path, await markOf(path)] as const));
  return new Map(entries);
}

async function markOf(path: string): Promise<string> {
  try {
    const { mtimeMs, ino, dev, size } = await stat(path);
    return `${mtimeMs} ${ino} ${dev} ${size}`;
  } catch {
    return 'none'; // in the middle of a swap, or gone; the reader says what is wrong with it
  }
}
