/** Secrets, tokens and sealing that change while processes run: what is open stays, what is new follows. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { dial, startEcho } from '../support/echo-service.ts';
import type { TcpUser } from '../support/echo-service.ts';
import { startNode, whenServed } from '../support/sidecar-world.ts';
import type { Sidecar } from '../support/sidecar-world.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

/** Sends something and waits for it to come back. */
async function echoes(user: TcpUser, text: string): Promise<void> {
  const before = user.received;
  user.socket.write(text);
  await waitFor(() => user.received === `${before}${text}`, { what: `the echo of ${text}` });
}

const phaseOf = (sidecar: Sidecar, router: string, phase: string) =>
  sidecar.until(
    ({ routers }) => routers.find(({ name }) => name === router)?.phase === phase && 'so',
    `${router} is ${phase}`,
  );

test('a secret that is exchanged on both sides breaks no connection and fails none', async (t) => {
  const node = await startNode(t);
  await node.createRouter('node-1');
  node.startRouter('node-1');
  const echo = await startEcho(t);
  const dir = tempDir(t);
  const secretOf = (side: string): string => join(dir, side);
  for (const side of ['provider', 'consumer']) writeFileSync(secretOf(side), 'old\n');
  await node.startSidecar('provider', {
    SIDECAR_EXPORTED_SERVICES: `web=${echo.port}`,
    SIDECAR_SECRET_KEY_FILE: secretOf('provider'),
  });
  const consumer = await node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: 'web:18130',
    SIDECAR_SECRET_KEY_FILE: secretOf('consumer'),
  });
  const where = await whenServed(consumer, 'web');
  const old = dial(t, where);
  await echoes(old, 'before');
  writeFileSync(secretOf('provider'), 'new\n');
  await waitFor(
    async () => {
      const meanwhile = dial(t, where);
      meanwhile.socket.write('meanwhile');
      return consumer.until(({ parked }) => parked.parked > 0, 'one that waits', 1000).then(() => true);
    },
    { what: 'the exchange at the provider' },
  );
  const waiting = dial(t, where);
  waiting.socket.write('x');
  await echoes(old, ' in between');
  assert.equal(waiting.received, '');
  writeFileSync(secretOf('consumer'), 'new\n');
  await waitFor(() => waiting.received === 'x', { what: 'the one that waited' });
  await echoes(dial(t, where), 'after');
  await echoes(old, ' after');
  const { parked, services } = await consumer.until(
    (status) => (status.parked.parked === 0 ? status : undefined),
    'nobody who waits',
  );
  assert.deepEqual([parked.failed, services[0]?.sealed], [0, true]);
});

test('sealing that is required later refuses what is not sealed from then on, and lets go again', async (t) => {
  const node = await startNode(t);
  await node.createRouter('node-1');
  node.startRouter('node-1');
  const echo = await startEcho(t);
  await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `web=${echo.port}` });
  const config = join(tempDir(t), 'sidecar.yaml');
  const require = (requireSealed: boolean): void =>
    writeFileSync(
      config,
      JSON.stringify({
        services: [{ name: 'web', requireSealed, ...(requireSealed ? { secretKey: 's3cret' } : {}) }],
      }),
    );
  require(false);
  const consumer = await node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: 'web:18131',
    SIDECAR_CONFIG: config,
    SIDECAR_PARK_TIMEOUT: '300ms',
  });
  const where = await whenServed(consumer, 'web');
  const plain = dial(t, where);
  await echoes(plain, 'plain');
  require(true);
  await consumer.until(({ services }) => services[0]?.sealed === true, 'sealing required');
  assert.equal(await dial(t, where).closed, 'ECONNRESET');
  await echoes(plain, ' goes on');
  require(false);
  await consumer.until(({ services }) => services[0]?.sealed !== true, 'sealing not required');
  await echoes(dial(t, where), 'plain again');
});

test('each Router gets its own token, and one that is exchanged breaks no connection', async (t) => {
  const node = await startNode(t, 'one');
  const tokens = join(tempDir(t), 'tokens.yaml');
  const write = (one: string, two: string): void => writeFileSync(tokens, `one: ${one}\ntwo: ${two}\n`);
  write('token-1', 'wrong');
  const start = (name: string, token: string) =>
    node.startRouter(name, undefined, { EDGE_ROUTER_TOKEN: token });
  for (const name of ['one', 'two']) await node.createRouter(name);
  const one = start('one', 'token-1');
  start('two', 'token-2');
  const echo = await startEcho(t);
  const both = { EDGE_ROUTER_TOKEN_FILE: tokens };
  await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `web=${echo.port}`, ...both });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'web:18132', ...both });
  await phaseOf(consumer, 'one', 'online');
  const where = await whenServed(consumer, 'web');
  const open = dial(t, where);
  await echoes(open, 'over one');
  write('token-1', 'token-2');
  await consumer.until(
    ({ services }) => new Set(services[0]?.providers.map(({ router }) => router)).size === 2,
    'the provider at both Routers',
  );
  await phaseOf(consumer, 'two', 'online'); // it has seen the change too
  write('token-3', 'token-2');
  await consumer.process.waitFor(
    () => (consumer.process.stderr.match(/configuration changed, applied/gu) ?? []).length >= 2,
    'the new token',
  );
  await echoes(open, ', still over one');
  await one.kill();
  assert.equal(await open.closed, 'ECONNRESET');
  start('one', 'token-3');
  await phaseOf(consumer, 'one', 'online');
  await echoes(dial(t, where), 'with the new token');
});
