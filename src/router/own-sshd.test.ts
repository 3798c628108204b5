/** The Router's own sshd with a client that is a fake: what is registered, what follows the Router's state, connections. */
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { systemClock } from '../lib/clock.ts';
import { silentLogger } from '../lib/log.ts';
import { SERVER_CONFIG } from '../../test/support/frp-pair.ts';
import { createStreamPair } from '../../test/support/stream-pair.ts';
import type { Cleanup } from '../../test/support/temp-dir.ts';
import { waitFor } from '../../test/support/wait.ts';
import type { FrpClient, FrpClientConfig, ProxyDefinition } from '../tunnel/frpc/types.ts';
import { createOwnSshd } from './own-sshd.ts';
import type { OwnSshdConfig } from './own-sshd.ts';
import type { RouterState } from './router.ts';

interface FakeClient {
  config: FrpClientConfig;
  proxies: ProxyDefinition[];
  isStopped: boolean;
}

function start(changes: Partial<OwnSshdConfig> = {}, target = { host: '127.0.0.1', port: 22 }) {
  const clients: FakeClient[] = [];
  const state = { port: undefined as number | undefined, server: SERVER_CONFIG };
  const router = {
    get config() {
      return { server: state.server };
    },
    view: () => ({ port: state.port }),
  } as unknown as RouterState;
  const metas = { type: 'ssh', uniqueId: 'a', hostKeys: 'ssh-ed25519 AAAA' };
  const sshd = createOwnSshd(
    {
      service: { name: 'ssh-a', namespace: 'maintenance', port: 22, target, metas },
      node: 'node-1',
      secret: '',
      isSealRequired: false,
      ...changes,
    },
    {
      clock: systemClock,
      log: silentLogger,
      state: router,
      createClient(config) {
        const client: FakeClient = { config, proxies: [], isStopped: false };
        clients.push(client);
        return {
          start: () => {},
          stop() {
            client.isStopped = true;
            return Promise.resolve();
          },
          addProxy: (definition: ProxyDefinition) => client.proxies.push(definition),
        } as unknown as FrpClient;
      },
    },
  );
  return { sshd, clients, state };
}

/** Something that greets like an sshd, and echoes. */
async function listen(t: Cleanup): Promise<number> {
  const server = createServer((socket) => {
    socket.write('SSH-2.0-test\r\n');
    socket.pipe(socket).on('error', () => {});
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  t.after(() => void server.close());
  return (server.address() as AddressInfo).port;
}

test('it registers what a sidecar registers, as soon as the Router serves, and follows port and token', async () => {
  const { sshd, clients, state } = start({ secret: 's3cret', isSealRequired: true });
  await sshd.start();
  assert.equal(clients.length, 0);
  state.port = 7000;
  sshd.notify();
  sshd.notify();
  assert.equal(clients.length, 1);
  const [first] = clients;
  assert.deepEqual(first?.config.server, { host: '127.0.0.1', port: 7000 });
  assert.equal(first.config.token, 'secret');
  const [proxy] = first.proxies;
  assert.equal(proxy?.name, 'ssh-a.maintenance.node-1');
  assert.deepEqual(proxy.metas, {
    type: 'ssh',
    uniqueId: 'a',
    hostKeys: 'ssh-ed25519 AAAA',
    service: 'ssh-a',
    namespace: 'maintenance',
    port: '22',
    protocol: 'TCP',
    node: 'node-1',
    pod: 'node-1',
  });
  assert.notEqual(proxy.secretKey, 's3cret', 'where sealing is required the Router is not told the secret');
  assert.equal(proxy.seal?.isRequired, true);

  state.server = { ...SERVER_CONFIG, token: 'other', bindAddr: '0.0.0.0' };
  sshd.notify();
  assert.deepEqual([first.isStopped, clients.length, clients[1]?.config.token], [true, 2, 'other']);
  assert.deepEqual(clients[1]?.config.server, { host: '127.0.0.1', port: 7000 });
  state.port = undefined;
  sshd.notify();
  assert.equal(clients[1].isStopped, true);
  await sshd.stop();
  state.port = 7000;
  sshd.notify();
  assert.equal(clients.length, 2, 'nothing begins after the end');
});

test('connections reach the sshd and end with it; without one they are refused', async (t) => {
  const { sshd, clients, state } = start({}, { host: '127.0.0.1', port: await listen(t) });
  state.port = 7000;
  await sshd.start();
  const [mine, theirs] = createStreamPair();
  let received = '';
  mine.setHandler({
    onData: (chunk) => {
      received += chunk.toString();
    },
    onEnd: () => {},
    onDrain: () => {},
    onClose: () => {},
  });
  mine.resume();
  clients[0]?.proxies[0]?.onConnection({ stream: theirs });
  mine.write(Buffer.from('hello'));
  await waitFor(() => received === 'SSH-2.0-test\r\nhello', { what: 'the greeting and the echo' });
  await sshd.stop();
  await waitFor(() => mine.isClosed, { what: 'the connection to end with the publisher' });

  const away = start({}, { host: '127.0.0.1', port: 1 });
  away.state.port = 7000;
  await away.sshd.start();
  const said: string[] = [];
  const confirmation = { accept: () => said.push('accepted'), refuse: () => said.push('refused') };
  const [, stream] = createStreamPair();
  away.clients[0]?.proxies[0]?.onConnection({ stream, confirmation });
  await waitFor(() => said.length > 0, { what: 'the answer' });
  assert.deepEqual(said, ['refused']);
  await away.sshd.stop();
});
