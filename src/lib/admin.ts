/** The small HTTP surface of every long-running part: /healthz, /readyz, /livez, /metrics. */
import { Hono } from 'hono';
import type { ReadinessCheck } from './lifecycle.ts';
import type { Registry } from './metrics.ts';

/** What the surface reports on. */
export interface AdminOptions {
  registry: Registry;
  checks: readonly ReadinessCheck[];
}

/** Creates the application; callers may add routes. `/readyz?verbose` lists every check. */
export function createAdminApp(options: AdminOptions): Hono {
  const app = new Hono();
  app.get('/healthz', (c) => c.text('ok'));
  app.get('/livez', (c) => c.text('ok'));
  app.get('/readyz', (c) => {
    const problems = options.checks.map((check) => ({ name: check.name, problem: check.problem() }));
    const isReady = problems.every((entry) => entry.problem === undefined);
    if (isReady && c.req.query('verbose') === undefined) return c.text('ok');
    const lines = problems.map((entry) =>
      entry.problem === undefined ? `[+]${entry.name} ok` : `[-]${entry.name} not ready: ${entry.problem}`,
    );
    return c.text(`${lines.join('\n')}\n${isReady ? 'ok' : 'not ready'}\n`, isReady ? 200 : 503);
  });
  app.get('/metrics', async (c) => {
    c.header('content-type', options.registry.contentType);
    return c.body(await options.registry.metrics());
  });
  return app;
}
