/**
 * Watches the health of one exported target: checks it all the time, and says when it begins and ceases to be able to
 * serve. What was never checked is not taken for healthy.
 */
import type { HostPort } from '../lib/address.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { runCheck } from './health-check.ts';
import type { HealthCheck, Probe } from './health-check.ts';

/** The health of a target. */
export interface HealthMonitor {
  readonly isHealthy: boolean;
  /** Why it is not healthy; undefined when it is. */
  readonly reason: string | undefined;
  /** Checks at once, unless a check is under way: a connection to the target has just failed. */
  checkNow(): void;
  /** Stops checking. Idempotent. */
  stop(): void;
}

/** What a monitor needs. */
export interface HealthDeps {
  clock: Clock;
  probe: Probe;
  /** Where the target is now. */
  target(): HostPort;
  /** It became healthy, or ceased to be, or its reason is another. */
  onChange(): void;
}

/** Starts checking; the first check runs at once. */
export function watchHealth(check: HealthCheck, deps: HealthDeps): HealthMonitor {
  const stopped = new AbortController();
  let isHealthy = false;
  let reason: string | undefined = 'the health check has not passed yet';
  let failures = 0;
  let successes = 0;
  let isChecking = false;
  let timer: Timer | undefined;

  const settle = (failure: string | undefined): void => {
    const before = { isHealthy, reason };
    failures = failure === undefined ? 0 : failures + 1;
    successes = failure === undefined ? successes + 1 : 0;
    if (!isHealthy && successes >= check.successThreshold) {
      isHealthy = true;
      reason = undefined;
    } else if (failure !== undefined && (!isHealthy || failures >= check.failureThreshold)) {
      isHealthy = false;
      reason = failure;
    }
    if (before.isHealthy !== isHealthy || before.reason !== reason) deps.onChange();
  };

  const run = async (): Promise<void> => {
    timer?.cancel();
    if (isChecking) return;
    isChecking = true;
    const { clock, probe } = deps;
    const startedAt = clock.now();
    const failure = await runCheck(check, deps.target(), { clock, probe, signal: stopped.signal });
    isChecking = false;
    if (stopped.signal.aborted) return;
    const leftMs = Math.max(check.intervalMs - (clock.now() - startedAt), 0);
    timer = clock.after(leftMs, () => void run());
    settle(failure);
  };
  void run();

  return {
    get isHealthy() {
      return isHealthy;
    },
    get reason() {
      return reason;
    },
    checkNow() {
      if (isHealthy && !stopped.signal.aborted) void run();
    },
    stop() {
      stopped.abort();
      timer?.cancel();
    },
  };
}
