/** When the reports of Routers are enough for rates, and what of them is shown. */
import type { Router } from '../../../api/gen/types.ts';
import type { Clock } from '../../../lib/clock.ts';
import type { Reports, RouterView } from './reports.ts';

/** A copy of the Routers that follows the API server; an informer fits. */
export interface RouterSource {
  list(): Router[];
  onChange(listener: () => void): void;
}

/** The Routers as they are at this moment. */
export function viewsNow(reports: Reports, routers: readonly Router[], clock: Clock): RouterView[] {
  return reports.take(routers, { monotonic: clock.now(), wall: clock.wallNow().getTime() });
}

/** Whether every Router that reports has said enough for its rates. */
export function areRatesKnown(views: readonly RouterView[]): boolean {
  return views.every(
    ({ trust, overSeconds }) => (trust !== 'Ready' && trust !== 'NotReady') || overSeconds !== undefined,
  );
}

/** Resolves once all rates are known, after `limitMs`, or when the signal aborts. */
export function whenRatesKnown(
  reports: Reports,
  source: RouterSource,
  { clock, limitMs, signal }: { clock: Clock; limitMs: number; signal: AbortSignal },
): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (signal.aborted || areRatesKnown(viewsNow(reports, source.list(), clock))) done();
    };
    const timer = clock.after(limitMs, () => done());
    const done = (): void => {
      timer.cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    signal.addEventListener('abort', done, { once: true });
    source.onChange(look);
    look();
  });
}
