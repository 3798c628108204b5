/** A real, unmodified frps followed by its dashboard: nodes of real frpc programs come, go, and survive a restart. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { NODE_MAINTENANCES } from '../../src/api/edge.ts';
import type { NodeMaintenance } from '../../src/api/gen/types.ts';
import { createApiClient } from '../../src/apiclient/client.ts';
import { startEdgeReady } from '../support/edge-process.ts';
import { requireFrp } from '../support/frp-program.ts';
import { freePorts } from '../support/ports.ts';
import { startProcess } from '../support/processes.ts';
import type { TestProcess } from '../support/processes.ts';
import { startSshd } from '../support/sshd.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

function followerArgs(dataDir: string, port: number, adapterPort: number): string[] {
  return [
    'apiserver',
    '--data-dir',
    dataDir,
    '--insecure-http',
    '--listen',
    `127.0.0.1:${port}`,
    '--adapter-listen',
    `127.0.0.1:${adapterPort}`,
  ];
}

test('nodes appear and vanish with their proxies, and a restart of the frps leaves nothing falsely online', async (t) => {
  const frps = requireFrp(t, 'frps', 'configuration in TOML');
  const frpc = requireFrp(t, 'frpc', 'configuration in TOML');
  if (frps === undefined || frpc === undefined) return;
  const [bind = 0, web = 0, port = 0, remote = 0, adapter = 0] = await freePorts(5);
  const dir = tempDir(t);
  const write = (name: string, text: string): string => {
    writeFileSync(join(dir, name), text);
    return join(dir, name);
  };
  const serverFile = write(
    'frps.toml',
    `bindAddr = "127.0.0.1"\nbindPort = ${bind}\nproxyBindAddr = "127.0.0.1"\nwebServer.addr = "127.0.0.1"\nwebServer.port = ${web}\nwebServer.user = "ops"\nwebServer.password = "pass"\n`,
  );
  const clientFile = write(
    'frpc.toml',
    `serverAddr = "127.0.0.1"\nserverPort = ${bind}\nloginFailExit = false\ntransport.tls.enable = false\n[[proxies]]\nname = "ssh-frpnode"\ntype = "tcp"\nlocalPort = 22\nremotePort = ${remote}\n`,
  );
  const startServer = (): TestProcess => startProcess(t, frps, ['-c', serverFile], { name: 'frps' });
  const startClient = (): TestProcess => startProcess(t, frpc, ['-c', clientFile], { name: 'frpc' });

  const dataDir = tempDir(t);
  const startFollower = (): Promise<TestProcess> =>
    startEdgeReady(t, followerArgs(dataDir, port, adapter), {
      env: {
        FRP_SERVER_API: `http://127.0.0.1:${web}`,
        FRP_SERVER_HTTPAUTHUSERNAME: 'ops',
        FRP_SERVER_HTTPAUTHPASSWORD: 'pass',
        FRP_SERVER_INTERVAL: '250ms',
      },
    });
  // the follower first: it waits for a frps that is not there yet
  let edge = await startFollower();
  await edge.waitForLine(/frps cannot be followed, retrying/u);
  const client = createApiClient({ server: `http://127.0.0.1:${port}` }, { component: 'test' });
  t.after(() => client.close());
  const whenState = (state: string): Promise<NodeMaintenance> =>
    waitFor(
      async () => {
        const { items } = await client.list<NodeMaintenance>(NODE_MAINTENANCES);
        return items.find(({ status }) => status?.services?.[0]?.status === state);
      },
      { what: `the node to be ${state}` },
    );

  let server = startServer();
  const first = startClient();
  const online = await whenState('online');
  assert.equal(online.metadata.name, 'nodemaintenances-frpnode');
  const [service] = online.spec.services ?? [];
  assert.deepEqual([service?.frpServerIpAddress, service?.proxyPort], ['127.0.0.1', String(remote)]);
  await edge.waitForLine(/frps is followed again/u);
  const fetched = await fetch(`http://127.0.0.1:${adapter}/frp_fetch/nodemaintenances-frpnode`);
  assert.deepEqual(await fetched.json(), {
    code: 200,
    data: { frp_server_ip_address: '127.0.0.1', proxy_port: String(remote), status: 'online' },
  });

  const killedAt = performance.now();
  await first.kill();
  await whenState('offline');
  t.diagnostic(`offline ${Math.round(performance.now() - killedAt)} ms after kill -9 of frpc`);

  const second = startClient();
  await whenState('online');
  await second.kill();
  await server.kill();
  server = startServer(); // it knows nothing of the node any more
  await whenState('offline');

  // what changes while the API server is away is made good when it comes back, both ways
  const third = startClient();
  await whenState('online');
  await edge.kill();
  await third.kill();
  edge = await startFollower();
  await whenState('offline');
  await edge.kill();
  startClient();
  edge = await startFollower();
  await whenState('online');

  await server.kill();
  await waitFor(() => edge.stderr.includes('node of the frps') && edge.stderr.includes('state=offline'), {
    what: 'the nodes of a dead frps to go offline',
  });
  const offline = await whenState('offline');
  assert.equal(offline.status?.conditions?.[0]?.reason, 'FrpServerUnreachable');
});

test('commands reach nodes through a frps that is not ours: by a port of it, and by the name of a proxy', async (t) => {
  const frps = requireFrp(t, 'frps', 'configuration in TOML');
  const frpc = requireFrp(t, 'frpc', 'configuration in TOML');
  if (frps === undefined || frpc === undefined) return;
  const sshd = await startSshd(t);
  if (sshd === undefined) return;
  const [bind = 0, web = 0, port = 0, remote = 0, adapter = 0] = await freePorts(5);
  const dir = tempDir(t);
  const serverFile = join(dir, 'frps.toml');
  const clientFile = join(dir, 'frpc.toml');
  const dataDir = join(dir, 'node');
  mkdirSync(dataDir);
  writeFileSync(
    serverFile,
    `bindAddr = "127.0.0.1"\nbindPort = ${bind}\nauth.token = "secret"\nproxyBindAddr = "127.0.0.1"\nwebServer.addr = "127.0.0.1"\nwebServer.port = ${web}\n`,
  );
  const head = `serverAddr = "127.0.0.1"\nserverPort = ${bind}\nauth.token = "secret"\nloginFailExit = false\n`;
  const tcp = `[[proxies]]\nname = "ssh-open"\ntype = "tcp"\nlocalPort = ${sshd.port}\nremotePort = ${remote}\n`;
  const stcp = `[[proxies]]\nname = "ssh-hidden"\ntype = "stcp"\nsecretKey = "s3cret"\nlocalPort = ${sshd.port}\n`;
  writeFileSync(clientFile, head + tcp + stcp);
  startProcess(t, frps, ['-c', serverFile], { name: 'frps' });
  startProcess(t, frpc, ['-c', clientFile], { name: 'frpc' });
  const address = `http://127.0.0.1:${adapter}`;
  await startEdgeReady(
    t,
    [...followerArgs(dataDir, port, adapter), '--frp-server-api', `http://127.0.0.1:${web}`],
    { env: { EDGE_ROUTER_TOKEN: 'secret', SIDECAR_SECRET_KEY: 's3cret' } },
  );
  const run = async (
    id: string,
  ): Promise<{ code: number; data?: { stdout: string }; error?: { message: string } }> => {
    const answer = await fetch(`${address}/reverse_proxy_shell`, {
      method: 'POST',
      body: JSON.stringify({
        nm_name: `nodemaintenances-${id}`,
        cmd: 'echo reached',
        user: sshd.user,
        private_key: readFileSync(sshd.userKey, 'utf8'),
      }),
    });
    return (await answer.json()) as Awaited<ReturnType<typeof run>>;
  };
  // nothing is known of their host keys, and nobody is there to be asked
  for (const id of ['open', 'hidden']) {
    const refused = await waitFor(
      async () => {
        const answer = await run(id);
        return answer.code === 502 ? answer : undefined;
      },
      { what: `the host key of ${id} to be refused` },
    );
    assert.match(refused.error?.message ?? '', /host key .* is not known/u);
  }
  const lines = ['open', 'hidden'].map((id) => `node-${id} ${sshd.hostKey}\n`);
  writeFileSync(join(dataDir, 'known_hosts'), lines.join(''));
  for (const id of ['open', 'hidden']) assert.equal((await run(id)).data?.stdout, 'reached\n', id);
});
