/** UDP services from sidecar to sidecar through Routers, with the programs people run: chronyd, dnsmasq, dig. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ROUTERS } from '../../src/api/edge.ts';
import type { Router } from '../../src/api/gen/types.ts';
import { freePorts } from '../support/ports.ts';
import { runProcess, startProcess } from '../support/processes.ts';
import { requireProgram } from '../support/programs.ts';
import { startNode } from '../support/sidecar-world.ts';
import type { Sidecar } from '../support/sidecar-world.ts';
import { tempDir } from '../support/temp-dir.ts';
import { createUser, openUdp, serveUdp } from '../support/udp-pair.ts';
import { PATIENCE_MS, waitFor } from '../support/wait.ts';

const SECRET = { SIDECAR_SECRET_KEY: 's3cret' };

async function startOneRouter(t: TestContext) {
  const node = await startNode(t);
  await node.createRouter('node-1');
  const router = node.startRouter('node-1');
  return { node, router };
}

async function freeUdpPort(t: TestContext): Promise<number> {
  const socket = await openUdp(t);
  const { port } = socket.address();
  await new Promise<void>((resolve) => {
    socket.close(() => resolve());
  });
  return port;
}

/** Where a service is, once it is served on as many ports. */
function whenReady(sidecar: Sidecar, name: string, ports = 1): Promise<string> {
  return sidecar.until(
    ({ services }) =>
      services.find((each) => each.name === name && each.state === 'ready' && each.ports.length === ports)
        ?.address,
    `service ${name} ready`,
  );
}

/** One NTP request (RFC 5905 7.3, mode 3), sent until it is answered: by a server, and to this very request. */
async function askNtp(host: string, port: number): Promise<{ stratum: number }> {
  const request = Buffer.alloc(48);
  request[0] = 0x23;
  request.writeUInt32BE(Math.floor(Math.random() * 2 ** 32), 40);
  const socket = createSocket('udp4');
  const ask = (): void => socket.send(request, port, host);
  const repeat = setInterval(ask, 500);
  try {
    const answer = await new Promise<Buffer>((resolve, reject) => {
      socket.once('message', resolve);
      socket.once('error', reject);
      ask();
      setTimeout(() => reject(new Error('no NTP answer')), PATIENCE_MS).unref();
    });
    assert.equal((answer[0] ?? 0) & 7, 4);
    assert.deepEqual(answer.subarray(24, 32), request.subarray(40, 48));
    return { stratum: answer[1] ?? 0 };
  } finally {
    clearInterval(repeat);
    socket.close();
  }
}

test('chronyd serves the time to NTP clients through two sidecars', async (t) => {
  const chronyd = requireProgram(t, 'chronyd');
  if (chronyd === undefined) return;
  const { node } = await startOneRouter(t);
  const ntpPort = await freeUdpPort(t);
  const dir = tempDir(t);
  const config = join(dir, 'chrony.conf');
  await writeFile(
    config,
    `port ${ntpPort}
bindaddress 127.0.0.1
allow 127.0.0.0/8
local stratum 3
cmdport 0
bindcmdaddress /
user ${process.getuid?.() === 0 ? 'root' : String(process.env['USER'])}
pidfile ${join(dir, 'chronyd.pid')}
driftfile ${join(dir, 'drift')}
`,
  );
  const server = startProcess(t, chronyd, ['-x', '-d', '-U', '-f', config], { name: 'chronyd' });
  await server.waitFor(() => askNtp('127.0.0.1', ntpPort), 'chronyd answers');

  await node.startSidecar('provider', { SIDECAR_EXPORTED_SERVICES: `time=${ntpPort}/udp`, ...SECRET });
  const consumer = await node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: `time:${ntpPort}/udp`,
    ...SECRET,
  });
  const address = await whenReady(consumer, 'time');
  assert.equal(await consumer.resolve('time.default.svc.cluster.local'), address);
  assert.deepEqual(await askNtp(address, ntpPort), { stratum: 3 });

  // A whole NTP client too, which measures what it gets and does not set the clock.
  const client = await runProcess(
    chronyd,
    ['-Q', '-U', '-t', '20', '-f', '/dev/null', `server ${address} port ${ntpPort} iburst maxsamples 1`],
    { name: 'chronyd -Q' },
  );
  assert.match(client.stdout + client.stderr, /System clock wrong by -?\d+\.\d+ seconds/u);

  const service = await consumer.until(
    ({ services: [time] }) => (time?.bytesIn === time?.bytesOut ? time : undefined),
    'an answer to each question',
  );
  assert.equal(service.connections, 0);
  assert.ok(service.udp.flows >= 2);
  assert.ok(service.bytesIn >= 96);
  const metrics = (await consumer.get('/metrics')).text;
  assert.match(metrics, /^edge_sidecar_udp_flows\{service="time\.default"\} [2-9]/mu);
  assert.match(metrics, /^edge_sidecar_udp_dropped_total\{service="time\.default"\} 0$/mu);
});

test('dig asks a DNS server that has TCP and UDP on one port, by both', async (t) => {
  const dnsmasq = requireProgram(t, 'dnsmasq');
  const dig = requireProgram(t, 'dig');
  if (dnsmasq === undefined || dig === undefined) return;
  const { node } = await startOneRouter(t);
  const [port = 0] = await freePorts(1);
  const server = startProcess(t, dnsmasq, [
    '--keep-in-foreground',
    '--conf-file=/dev/null',
    '--no-resolv',
    '--no-hosts',
    '--pid-file=',
    '--user=',
    `--port=${port}`,
    '--listen-address=127.0.0.1',
    '--bind-interfaces',
    '--address=/names.example.org/192.0.2.7',
    '--txt-record=large.example.org,' + Array.from({ length: 5 }, (_, at) => `${at}`.repeat(200)).join(','),
  ]);
  const ask = async (host: string, ...options: string[]): Promise<string> => {
    const { stdout } = await runProcess(
      dig,
      ['+tries=1', '+time=10', '+short', ...options, '-p', `${port}`, `@${host}`],
      { timeoutMs: 30_000 },
    );
    return stdout.trim();
  };
  await server.waitFor(
    async () => (await ask('127.0.0.1', 'names.example.org')) === '192.0.2.7',
    'dnsmasq answers',
  );

  await node.startSidecar('provider', {
    SIDECAR_EXPORTED_SERVICES: `names=${port},names=${port}/udp`,
    ...SECRET,
  });
  // Without a port: both are taken from the provider.
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'names', ...SECRET });
  const address = await whenReady(consumer, 'names', 2);
  for (const transport of ['+notcp', '+tcp']) {
    assert.equal(await ask(address, transport, 'names.example.org'), '192.0.2.7', transport);
  }
  assert.match(
    await ask(address, '+notcp', '+ignore', '+bufsize=4096', 'large.example.org', 'TXT'),
    /4{200}/u,
  );
  const many = await Promise.all(
    Array.from({ length: 30 }, () => ask(address, '+notcp', 'names.example.org')),
  );
  assert.ok(many.every((answer) => answer === '192.0.2.7'));
  const { services } = await consumer.status();
  assert.deepEqual(services[0]?.ports.map(({ protocol }) => protocol).sort(), ['TCP', 'UDP']);
  assert.equal(services[0]?.connectionsTotal, 1);
  assert.ok((services[0]?.udp.flowsTotal ?? 0) >= 32);
  const { status } = await node.client.get<Router>(ROUTERS, 'node-1');
  assert.deepEqual(status?.activeServices?.map(({ protocol }) => protocol).sort(), ['TCP', 'UDP']);
});

test('users stay with a provider, share out over all, and move when theirs goes', async (t) => {
  const { node } = await startOneRouter(t);
  const services = await Promise.all(
    ['a', 'b'].map((name) => serveUdp(t, (payload) => Buffer.from(`${name} ${payload.toString()}`))),
  );
  const providers = await Promise.all(
    services.map(async ({ port }, at) => {
      const dir = tempDir(t);
      const file = join(dir, 'exports.yaml');
      const ports = `[{port: 9000, targetPort: ${port}, protocol: UDP}]`;
      await writeFile(file, `services: [{name: echo, ports: ${ports}}]`);
      return node.startSidecar(`provider-${at}`, { SIDECAR_EXPORTS_FILE: file, ...SECRET });
    }),
  );
  const consumer = await node.startSidecar('consumer', {
    SIDECAR_MAPPED_SERVICES: 'echo:9000/udp',
    ...SECRET,
  });
  await consumer.until(
    ({ services: mapped }) => mapped[0]?.providers.filter(({ ready }) => ready).length === 2,
    'both providers',
  );
  const address = await whenReady(consumer, 'echo');
  const users = await Promise.all(Array.from({ length: 10 }, () => createUser(t)));
  const answer = async (user: (typeof users)[number], text: string): Promise<string> => {
    let nextSend = 0;
    return waitFor(
      () => {
        if (performance.now() >= nextSend) {
          nextSend = performance.now() + 500;
          user.socket.send(text, 9000, address);
        }
        return user.heard.find((each) => each.endsWith(` ${text}`));
      },
      { what: `answer to ${text}` },
    );
  };
  const first = await Promise.all(users.map((user, at) => answer(user, `first-${at}`)));
  const second = await Promise.all(users.map((user, at) => answer(user, `second-${at}`)));
  const names = first.map((text) => text[0]);
  assert.deepEqual(
    second.map((text) => text[0]),
    names,
  );
  // Half of them each, but for one that a busy machine keeps from answering at once.
  const ofOne = names.filter((name) => name === 'a').length;
  assert.ok(ofOne >= 3 && ofOne <= 7, names.join());
  await providers[0]?.process.stop();
  const third = await Promise.all(users.map((user, at) => answer(user, `third-${at}`)));
  assert.ok(third.every((text) => text.startsWith('b ')));
});

test('UDP flows do not hold up the end of a sidecar or a Router', async (t) => {
  const { node, router } = await startOneRouter(t);
  const service = await serveUdp(t);
  const provider = await node.startSidecar('provider', {
    SIDECAR_EXPORTED_SERVICES: `echo=${service.port}/udp`,
    ...SECRET,
  });
  const consumer = await node.startSidecar('consumer', { SIDECAR_MAPPED_SERVICES: 'echo/udp', ...SECRET });
  const address = await whenReady(consumer, 'echo');
  const user = await createUser(t);
  await user.ask(service.port, 'hello', address);
  for (const { process } of [consumer, provider, { process: router }]) {
    const startedAt = performance.now();
    const { status } = await process.stop();
    assert.equal(status, 0);
    assert.ok(performance.now() - startedAt < 20_000);
  }
});
