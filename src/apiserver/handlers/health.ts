/** Health for probes and people: `ok` or what is wrong, and with `?verbose` every check by name. Nobody has to log in. */
import type { Routes } from '../routes.ts';
import type { ApiContext, ApiDeps } from './context.ts';
import { textResponse } from './respond.ts';

interface Check {
  name: string;
  problem: () => string | undefined;
}

function answer(c: ApiContext, endpoint: string, checks: readonly Check[]): Response {
  const results = checks.map(({ name, problem }) => ({ name, problem: problem() }));
  const isWell = results.every(({ problem }) => problem === undefined);
  const isVerbose = c.req.query('verbose') !== undefined;
  const lines = results.map(({ name, problem }) =>
    problem === undefined ? `[+]${name} ok\n` : `[-]${name} not ready: ${problem}\n`,
  );
  const shown = isVerbose || !isWell ? lines.filter((line) => isVerbose || line.startsWith('[-]')) : [];
  const verdict = isVerbose ? `${endpoint} check ${isWell ? 'passed' : 'failed'}\n` : isWell ? 'ok' : '';
  return textResponse(shown.join('') + verdict, isWell ? 200 : 503, 'text/plain; charset=utf-8', {
    'x-content-type-options': 'nosniff',
  });
}

/** Adds `/healthz`, `/livez` and `/readyz`, and each of their checks below them. */
export function addHealth(routes: Routes, deps: ApiDeps): void {
  const ping: Check = { name: 'ping', problem: () => undefined };
  const serving: Check = { name: 'serving', problem: () => deps.notServing() };
  for (const [endpoint, checks] of [
    ['healthz', [ping]],
    ['livez', [ping]],
    ['readyz', [ping, serving]],
  ] as const) {
    routes.get(`/${endpoint}`, (c) => answer(c, endpoint, checks));
    for (const check of checks)
      routes.get(`/${endpoint}/${check.name}`, (c) => answer(c, `${endpoint}/${check.name}`, [check]));
  }
}
