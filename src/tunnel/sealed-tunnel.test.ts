/** Sealed connections through a server whose every byte a relay in front of it records, and may change. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import {
  ask,
  listenTcp,
  listenVisitor,
  publish,
  startClient,
  startServer,
} from '../../test/support/frp-pair.ts';
import { waitFor } from '../../test/support/wait.ts';
import { SEAL_ERRORS } from './seal/errors.ts';
import { createSealKeys } from './seal/keys.ts';
import type { SealPolicy } from './seal/negotiation.ts';
import { isSealed } from './seal/sealed-stream.ts';

const QUESTION = 'a question in plain words, long enough to be found';
const ANSWER = 'an answer in plain words, also long enough';
const KEYS = createSealKeys().derive('a secret', 'web.default');
const POLICY: SealPolicy = { service: 'web.default', port: 80, psk: KEYS.psk, isRequired: false };
const REQUIRED: SealPolicy = { ...POLICY, isRequired: true };

/** A relay in front of a port that keeps all it carries; `change` may alter what the client sends. */
async function startRecorder(t: TestContext, port: number) {
  const seen: Buffer[] = [];
  const hand = { change: (chunk: Buffer): Buffer => chunk };
  const recorderPort = await listenTcp(t, (socket) => {
    const onward = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    onward.on('error', () => {});
    socket.on('data', (chunk) => {
      seen.push(chunk);
      onward.write(hand.change(chunk));
    });
    onward.on('data', (chunk) => {
      seen.push(chunk);
      socket.write(chunk);
    });
    socket.on('end', () => onward.end());
    onward.on('end', () => socket.end());
    socket.on('close', () => onward.destroy());
    onward.on('close', () => socket.destroy());
    socket.resume();
  });
  return { port: recorderPort, hand, all: () => Buffer.concat(seen) };
}

/** A provider and a visitor, both through a recorder, without TLS so that the recorder sees all that a server sees. */
async function build(t: TestContext, provider: SealPolicy | undefined, visitor: SealPolicy | undefined) {
  const server = await startServer(t);
  const recorder = await startRecorder(t, server.port ?? 0);
  const service = await listenTcp(t, (socket) => {
    socket.on('end', () => socket.end(ANSWER));
    socket.on('data', () => {});
    socket.resume();
  });
  const providing = await startClient(t, recorder.port);
  await publish(providing, service, provider === undefined ? {} : { seal: provider });
  const visiting = await startClient(t, recorder.port);
  const seal = visitor === undefined ? {} : { seal: visitor };
  const entry = await listenVisitor(t, visiting, seal);
  return { recorder, visiting, entry, seal };
}

test('a relay and the server see nothing of the payload of a sealed connection', async (t) => {
  for (const [provider, visitor] of [
    [POLICY, POLICY],
    [REQUIRED, REQUIRED],
    [REQUIRED, POLICY],
  ]) {
    const { recorder, entry, visiting } = await build(t, provider, visitor);
    assert.equal((await ask(entry, QUESTION)).toString(), ANSWER);
    const wire = recorder.all();
    assert.ok(wire.includes('NewVisitor') || wire.length > 500, 'the recorder recorded');
    assert.ok(!wire.includes(QUESTION) && !wire.includes(ANSWER));
    const stream = await visiting.openVisitor({
      proxyName: 'web.default.pod',
      secretKey: 'key',
      seal: POLICY,
    });
    assert.ok(isSealed(stream));
    stream.destroy();
  }
});

test('a peer that knows nothing of sealing is served without it, unless sealing is required', async (t) => {
  for (const [provider, visitor] of [
    [undefined, POLICY],
    [POLICY, undefined],
  ]) {
    const { recorder, entry } = await build(t, provider, visitor);
    assert.equal((await ask(entry, QUESTION)).toString(), ANSWER);
    assert.ok(recorder.all().includes(QUESTION), 'unsealed: the recorder reads');
  }
});

test('a required seal is not talked out of by a server that keeps the offer to itself', async (t) => {
  const server = await startServer(t);
  const providing = await startClient(t, server.port ?? 0);
  const service = await listenTcp(t, (socket) => socket.end(ANSWER));
  // What a server that strips looks like: the other end never heard of the offer.
  await publish(providing, service, { seal: REQUIRED });
  const visiting = await startClient(t, server.port ?? 0);
  const plain = await visiting.openVisitor({ proxyName: 'web.default.pod', secretKey: 'key' });
  let received = 0;
  let isClosed = false;
  plain.setHandler({
    onData: (chunk) => {
      received += chunk.length;
    },
    onEnd: () => {},
    onDrain: () => {},
    onClose: () => (isClosed = true),
  });
  plain.resume();
  plain.write(Buffer.from(QUESTION));
  await waitFor(() => isClosed, { what: 'the provider to refuse' });
  assert.equal(received, 0);
});

test('the wrong secret is refused at both ends, before the target hears of it', async (t) => {
  const other = createSealKeys().derive('another secret', 'web.default');
  const { visiting } = await build(t, POLICY, POLICY);
  await assert.rejects(
    visiting.openVisitor({
      proxyName: 'web.default.pod',
      secretKey: 'key',
      seal: { ...POLICY, psk: other.psk },
    }),
    { code: SEAL_ERRORS.refused },
  );
});

test('a relay that changes payload breaks the connection and nothing of the change arrives', async (t) => {
  const { recorder, visiting, seal } = await build(t, POLICY, POLICY);
  const stream = await visiting.openVisitor({ proxyName: 'web.default.pod', secretKey: 'key', ...seal });
  const end = { received: 0, hasEnded: false, isClosed: false };
  stream.setHandler({
    onData: (chunk) => {
      end.received += chunk.length;
    },
    onEnd: () => (end.hasEnded = true),
    onDrain: () => {},
    onClose: () => (end.isClosed = true),
  });
  stream.resume();
  let changes = 0;
  recorder.hand.change = (chunk) => {
    if (chunk.length < 4096) return chunk; // what steers the connection
    changes++;
    const at = chunk.length >> 1;
    const changed = Buffer.from(chunk);
    changed[at] = (changed[at] ?? 0) ^ 1;
    return changed;
  };
  for (let count = 0; count < 8; count++) stream.write(Buffer.alloc(64 * 1024, 'x'));
  stream.end();
  await waitFor(() => end.isClosed, { what: 'the connection to break' });
  assert.ok(changes > 0);
  assert.deepEqual(end, { received: 0, hasEnded: false, isClosed: true });
});
