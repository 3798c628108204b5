/** `edge router --maintenance`: the node's own sshd at its own Router, sealed, without a sidecar. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { NODE_OBJECT, startMaintenanceWorld } from '../support/maintenance-world.ts';

/** A change shows within a second of its cause; where only the keep-alive notices it takes 40 s. */
const SHOWN_MS = 25_000;

test('a Router publishes the sshd beside it, and its node goes when the Router goes', async (t) => {
  const world = await startMaintenanceWorld(t, { isByRouter: true });
  if (world === undefined) return;
  const { adapter, sshd } = world;
  const run = async (cmd: string): Promise<unknown> => {
    const private_key = readFileSync(sshd.userKey, 'utf8');
    const answer = await fetch(`${adapter}/reverse_proxy_shell`, {
      method: 'POST',
      body: JSON.stringify({ nm_name: NODE_OBJECT, cmd, user: sshd.user, private_key }),
    });
    return ((await answer.json()) as { data?: { stdout: string } }).data?.stdout;
  };
  assert.equal(await run('echo over the tunnel'), 'over the tunnel\n');

  await world.router.kill();
  await world.startRouter().then((router) => router.stop());
  const stoppedAt = performance.now();
  await world.whenState('offline', SHOWN_MS);
  t.diagnostic(`offline ${Math.round(performance.now() - stoppedAt)} ms after the Router had stopped`);
  await world.startRouter();
  await world.whenState('online');
  assert.equal(await run('echo again'), 'again\n');
});
