/** Router, sidecar and ctl with a Kubernetes API server in place of `edge apiserver`, by nothing but `--kubeconfig`. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { ROUTERS } from '../../src/api/edge.ts';
import type { Router } from '../../src/api/gen/types.ts';
import { runEdge, startEdge } from '../support/edge-process.ts';
import { useKubeServer, writeKubeconfig } from '../support/kube-server.ts';
import { freePorts } from '../support/ports.ts';
import { exchange, startSidecarOf, whenServed } from '../support/sidecar-world.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

test('a service is published, found and used through a Kubernetes API, and ctl sees it', async (t) => {
  const kube = await useKubeServer(t);
  if (kube === undefined) return;
  const { client, server, token } = kube;
  const kubeconfig = writeKubeconfig(t, server, token);
  const name = `kube-${Date.now().toString(36)}`;
  t.after(() => client.delete(ROUTERS, name).catch(() => {}));
  const ctl = async (...args: string[]): Promise<string> => {
    const { status, stdout, stderr } = await runEdge(['ctl', '--kubeconfig', kubeconfig, ...args]);
    assert.equal(status, 0, `${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const [first = 0, second = 0] = await freePorts(2);
  await client.create(ROUTERS, {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name },
    spec: { frps: { bindAddr: '127.0.0.1', bindPort: first } },
  });
  const access = ['--kubeconfig', kubeconfig];
  const asNode = ['--node', name, '--advertise-address', '127.0.0.1'];
  startEdge(t, ['router', ...access, ...asNode, '--data-dir', tempDir(t)]);
  await ctl('wait', '--for=condition=Ready', `router/${name}`, '--timeout=20s');

  const target = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  target.listen(0, '127.0.0.1');
  await once(target, 'listening');
  t.after(() => void target.close());
  const { port } = target.address() as AddressInfo;
  const secret = { SIDECAR_SECRET_KEY: 's3cret', SIDECAR_ROUTERS: name };
  await startSidecarOf(t, access, name, 'provider', { SIDECAR_EXPORTED_SERVICES: `web=${port}`, ...secret });
  const consumer = await startSidecarOf(t, access, name, 'consumer', {
    SIDECAR_MAPPED_SERVICES: 'web',
    ...secret,
  });
  const served = await whenServed(consumer, 'web');
  assert.equal(await exchange(served.address, served.port, 'hello'), 'hello');
  await waitFor(
    async () =>
      (await client.get<Router>(ROUTERS, name)).status?.activeServices?.some((each) => each.name === 'web'),
    { what: 'the service in the status' },
  );
  assert.match(
    await ctl('get', 'rt', name),
    new RegExp(String.raw`^${name} +True +127\.0\.0\.1 +${first} `, 'mu'),
  );
  assert.match(await ctl('services'), new RegExp(String.raw`^default +web +${port}/TCP +1/1 +ready `, 'mu'));

  // a change of the spec is applied, and the sidecars come along
  await ctl('patch', 'rt', name, '-p', JSON.stringify({ spec: { frps: { bindPort: second } } }));
  await ctl('wait', `--for=jsonpath={.status.observedGeneration}=2`, `router/${name}`, '--timeout=20s');
  await waitFor(
    async () => (await exchange(served.address, served.port, 'again').catch(() => '')) === 'again',
    { what: 'the service through the new port' },
  );
  await ctl('delete', 'rt', name);
});
