/** Sealed streams beside frp's own programs: a required seal passes an unmodified frps, an offer disturbs nobody. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { createSealKeys } from '../../src/tunnel/seal/keys.ts';
import { isSealed } from '../../src/tunnel/seal/sealed-stream.ts';
import { listenTcp, listenVisitor, publish, startClient, startServer } from '../support/frp-pair.ts';
import { requireFrp, startFrp } from '../support/frp-program.ts';
import { freePorts } from '../support/ports.ts';

const { psk } = createSealKeys().derive('a secret', 'web.default');
const SEAL = { service: 'web.default', port: 80, psk };

function listenEcho(t: TestContext): Promise<number> {
  return listenTcp(t, (socket) => {
    socket.on('data', (chunk) => socket.end(chunk));
    socket.resume();
  });
}

/** The first answer; without a half-close, which frp's programs do not carry. */
async function say(port: number, text: string): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1' });
  socket.write(text);
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return chunk.toString();
}

test('two clients that require or offer a seal reach each other through a real frps', async (t) => {
  const frps = requireFrp(t, 'frps');
  if (frps === undefined) return;
  const [port] = (await freePorts(1)) as [number];
  await startFrp(
    t,
    frps,
    `bindAddr = "127.0.0.1"\nbindPort = ${port}\nauth.token = "secret"\n`,
    'frps started',
  );
  const provider = await startClient(t, port);
  const visitor = await startClient(t, port);
  const service = await listenEcho(t);
  for (const isRequired of [true, false]) {
    const seal = { ...SEAL, isRequired };
    const name = `web.default.${isRequired}`;
    await publish(provider, service, { name, seal });
    const stream = await visitor.openVisitor({ proxyName: name, secretKey: 'key', seal });
    assert.equal(isSealed(stream), isRequired);
    stream.destroy();
    const entry = await listenVisitor(t, visitor, { proxyName: name, seal });
    assert.equal(await say(entry, 'hello'), 'hello');
  }
});

test('a real frpc visits a provider that offers to seal', async (t) => {
  const frpc = requireFrp(t, 'frpc');
  if (frpc === undefined) return;
  const server = await startServer(t);
  const provider = await startClient(t, server.port as number);
  await publish(provider, await listenEcho(t), { seal: { ...SEAL, isRequired: false } });
  const [bindPort] = (await freePorts(1)) as [number];
  const visitor = `serverAddr = "127.0.0.1"
serverPort = ${server.port}
auth.token = "secret"
[[visitors]]
name = "v"
type = "stcp"
serverName = "web.default.pod"
secretKey = "key"
bindPort = ${bindPort}`;
  await startFrp(t, frpc, visitor, 'start visitor success');
  assert.equal(await say(bindPort, 'hello'), 'hello');
});
