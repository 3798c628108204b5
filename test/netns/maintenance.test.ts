/** An operator behind one NAT works on a node behind another, through a Router with a public address. */
import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { netnsMissing } from '../support/netns.ts';
import { startMaintainedSite } from '../support/netns-maintenance.ts';
import { waitFor } from '../support/wait.ts';

const reason = netnsMissing();
const WORKS_AGAIN_MS = 60_000;

test('an operator behind NAT works on a node behind NAT', { skip: reason ?? false }, async (t) => {
  const site = await startMaintainedSite(t);
  if (site === undefined) return;
  const { dir, node, sshd } = site;
  const own = ['--batch', '--identity', sshd.userKey];
  const there = await site.ctl('exec', [...own, 'node-7', '--', 'ip -o -4 address show; exit 5']);
  assert.equal(there.status, 5, there.stderr);
  assert.ok(there.stdout.includes(` ${node.address}/`), there.stdout);

  const bytes = randomBytes(16 * 1024 * 1024);
  const [source, copy, back] = [join(dir, 'source'), join(dir, 'copy'), join(dir, 'back')] as const;
  writeFileSync(source, bytes);
  for (const [from, to] of [
    [source, `node-7:${copy}`],
    [`node-7:${copy}`, back],
  ] as const) {
    const copied = await site.ctl('cp', [...own, from, to]);
    assert.equal(copied.status, 0, copied.stderr);
  }
  const hashOf = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
  assert.equal(hashOf(readFileSync(back)), hashOf(bytes));

  // the node's provider gives it another address: what is new works again
  node.renumber();
  const again = async (): Promise<boolean> =>
    (await site.ctl('ssh', [...own, 'node-7', 'echo again'])).stdout === 'again\n';
  const renumberedAt = performance.now();
  await waitFor(again, { what: 'a session after the change', timeoutMs: WORKS_AGAIN_MS, intervalMs: 200 });
  t.diagnostic(`a session ${Math.round(performance.now() - renumberedAt)} ms after another address`);
});
