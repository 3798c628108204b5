/** Health checks beside real frp: a sick target of a sidecar is withdrawn at a frps, a sick member of a frpc from a group. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { ROUTERS } from '../../src/api/edge.ts';
import { dial } from '../support/echo-service.ts';
import type { TcpUser } from '../support/echo-service.ts';
import { startServer } from '../support/frp-pair.ts';
import { frpHead as head, requireFrp, startFrp } from '../support/frp-program.ts';
import { freePorts } from '../support/ports.ts';
import { startNode } from '../support/sidecar-world.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

/** An HTTP service that can be ill in two ways: it answers with errors, or its port is closed. */
class Patient {
  readonly port: number;
  readonly #name: string;
  #server: Server | undefined;
  readonly #open = new Set<Socket>();
  #isWell = true;

  constructor(t: TestContext, name: string, port: number) {
    this.#name = name;
    this.port = port;
    t.after(() => {
      this.#close();
      for (const socket of this.#open) socket.destroy();
    });
  }

  async heal(): Promise<void> {
    this.#isWell = true;
    if (this.#server !== undefined) return;
    const server = createServer((socket) => {
      this.#open.add(socket);
      socket.on('close', () => this.#open.delete(socket));
      socket.on('error', () => {});
      socket.on('data', () => socket.write(this.#answer()));
    });
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, '127.0.0.1', resolve);
    });
  }

  /** What a check of that type notices. */
  fall(type: 'tcp' | 'http'): void {
    if (type === 'http') this.#isWell = false;
    else this.#close(); // what is connected stays so
  }

  #answer(): string {
    const status = this.#isWell ? '200 OK' : '503 Service Unavailable';
    return `HTTP/1.1 ${status}\r\ncontent-length: ${this.#name.length}\r\n\r\n${this.#name}`;
  }

  #close(): void {
    this.#server?.close();
    this.#server = undefined;
  }
}

const REQUEST = 'GET / HTTP/1.1\r\nhost: web\r\n\r\n';

/** Asks over a connection that stays open; the body, or nothing when it was refused. */
async function ask(user: TcpUser): Promise<string> {
  const from = user.received.length;
  user.socket.write(REQUEST);
  let isClosed = false;
  void user.closed.then(() => (isClosed = true));
  const answer = await waitFor(
    () => (isClosed ? 'refused' : /\r\n\r\n(\w+)$/u.exec(user.received.slice(from))?.[1]),
    { what: 'an answer' },
  );
  return answer;
}

for (const type of ['tcp', 'http'] as const) {
  test(`while its ${type} check fails a sidecar's service is withdrawn at a real frps, and comes back`, async (t) => {
    const frps = requireFrp(t, 'frps', 'users that may visit');
    const frpc = requireFrp(t, 'frpc');
    if (frps === undefined || frpc === undefined) return;
    const [port, visitorPort, targetPort] = (await freePorts(3)) as [number, number, number];
    const config = `bindAddr = "127.0.0.1"\nbindPort = ${port}\nauth.token = "secret"\n`;
    await startFrp(t, frps, config, 'frps started');
    const node = await startNode(t);
    await node.createRouter('frps');
    await node.client.patch(ROUTERS, 'frps', { spec: { frps: { bindPort: port } } }, { type: 'merge' });
    const status = { addresses: [{ type: 'InternalIP', address: '127.0.0.1' }] };
    await node.client.patch(ROUTERS, 'frps', { status }, { type: 'merge', subresource: 'status' });
    const patient = new Patient(t, 'web', targetPort);
    await patient.heal();
    const exportsFile = join(tempDir(t), 'exports.yaml');
    const healthCheck = { type, interval: '100ms' };
    writeFileSync(
      exportsFile,
      JSON.stringify({ services: [{ name: 'web', ports: [{ port: targetPort }], healthCheck }] }),
    );
    const sidecar = await node.startSidecar('pod-a', {
      SIDECAR_EXPORTS_FILE: exportsFile,
      SIDECAR_SECRET_KEY: 'key',
      EDGE_ROUTER_TOKEN: 'secret',
    });
    const isHealthy = (healthy: boolean) =>
      sidecar.until(
        ({ exports: [web] }) =>
          web?.health?.healthy === healthy && web.routers[0]?.phase === 'running' && 'registered',
        healthy ? 'healthy' : 'not healthy',
      );
    await isHealthy(true);
    const visitor = `[[visitors]]\nname = "v"\ntype = "stcp"\nserverName = "web.default.pod-a"\nsecretKey = "key"\nbindPort = ${visitorPort}\n`;
    await startFrp(t, frpc, head({ port }) + visitor, 'login to server success');
    const where = { address: '127.0.0.1', port: visitorPort };
    const open = dial(t, where);
    assert.equal(await ask(open), 'web');
    for (let round = 0; round < 2; round++) {
      patient.fall(type);
      await isHealthy(false);
      assert.equal(await ask(dial(t, where)), 'refused');
      assert.equal(await ask(open), 'web', 'an open connection goes on');
      await patient.heal();
      await isHealthy(true);
      assert.equal(await ask(dial(t, where)), 'web');
    }
  });

  test(`a member of a group whose ${type} check fails at its real frpc leaves the group on our server`, async (t) => {
    const frpc = requireFrp(t, 'frpc');
    if (frpc === undefined) return;
    const server = await startServer(t);
    const [remotePort, ...ports] = (await freePorts(3)) as [number, number, number];
    const [one, two] = ports.map((port, at) => new Patient(t, at === 0 ? 'one' : 'two', port));
    assert.ok(one && two);
    await one.heal();
    for (const [name, { port }] of Object.entries({ one, two })) {
      const member = `[[proxies]]
name = "${name}"
type = "tcp"
localIP = "127.0.0.1"
localPort = ${port}
remotePort = ${remotePort}
loadBalancer.group = "web"
loadBalancer.groupKey = "shared"
healthCheck.type = "${type}"
healthCheck.path = "/"
healthCheck.intervalSeconds = 1
healthCheck.timeoutSeconds = 1
healthCheck.maxFailed = 1
`;
      await startFrp(t, frpc, head({ port: server.port }) + member, 'login to server success');
    }
    const members = (...names: string[]) =>
      waitFor(
        () =>
          server
            .proxies()
            .map(({ name }) => name)
            .toSorted()
            .join() === names.join() && 'so',
        { what: `members ${names.join()}` },
      );
    const answers = async (): Promise<string[]> => {
      const where = { address: '127.0.0.1', port: remotePort };
      const all = await Promise.all(Array.from({ length: 6 }, () => ask(dial(t, where))));
      return [...new Set(all)].toSorted();
    };
    await members('one');
    assert.deepEqual(await answers(), ['one']);
    await two.heal();
    await members('one', 'two');
    assert.deepEqual(await answers(), ['one', 'two']);
    one.fall(type);
    await members('two');
    assert.deepEqual(await answers(), ['two']);
    two.fall(type);
    await members();
    assert.equal(await dial(t, { address: '127.0.0.1', port: remotePort }).closed, 'ECONNREFUSED');
    await one.heal();
    await members('one');
    assert.deepEqual(await answers(), ['one']);
  });
}
