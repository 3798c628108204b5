/** Fails a suite that leaves sockets, servers or timers behind. */
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { waitFor } from './wait.ts';

/** Resources that say nothing about the code under test: the runner's own pipes, and file work under way. */
const IGNORED = new Set(['PipeWrap', 'TTYWrap', 'FSReqPromise', 'FSReqCallback', 'FileHandle', 'CloseReq']);
/**
 * Closing is asynchronous; so many turns of the event loop, 20 ms apart, are plenty for a handle that is really on its
 * way out. Turns, since a machine may pause.
 */
const GRACE_TURNS = 100;

/**
 * Put at the top of a test file (or a describe): remembers what is open before its tests and asserts, after the
 * last one, that nothing was added. Timers that do not keep the process alive are not seen by Node here.
 */
export function checkLeaks(): void {
  let atStart = new Map<string, number>();
  before(() => {
    atStart = activeResources();
  });
  after(async () => {
    let turns = 0;
    const left = await waitFor(
      () => {
        const open = added(atStart);
        return open.length === 0 || turns++ >= GRACE_TURNS ? { open } : undefined;
      },
      { what: 'handles closed' },
    );
    assert.deepEqual(left.open, [], 'handles left open');
  });
}

/** What is open now that was not open then, as `TYPE x N`. */
function added(then: ReadonlyMap<string, number>): string[] {
  return [...activeResources()]
    .map(([type, count]) => ({ type, extra: count - (then.get(type) ?? 0) }))
    .filter(({ extra }) => extra > 0)
    .map(({ type, extra }) => `${type} x ${extra}`);
}

function activeResources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const type of process.getActiveResourcesInfo()) {
    if (!IGNORED.has(type)) counts.set(type, (counts.get(type) ?? 0) + 1);
  }
  return counts;
}
