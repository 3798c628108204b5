import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { listenTcp } from '../../test/support/frp-pair.ts';
import { checkLeaks } from '../../test/support/leak-check.ts';
import { collect } from '../../test/support/stream-pair.ts';
import { waitFor } from '../../test/support/wait.ts';
import { TunnelError } from './errors.ts';
import { socketStream } from './socket-stream.ts';

checkLeaks();

for (const [what, bytes, hasEnded] of [
  ['an idle one', 0, false],
  ['one that was ended', 0, true],
  ['one whose peer reads nothing', 64 * 1024 * 1024, false],
  ['one that was ended and whose peer reads nothing', 64 * 1024 * 1024, true],
] as const) {
  test(`an abort closes a socket at once: ${what}`, async (t) => {
    const port = await listenTcp(t, (socket) => socket.pause());
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const stream = socketStream(socket);
    const seen = collect(stream);
    await waitFor(() => socket.readyState === 'open', { what: 'connection' });
    if (bytes > 0) stream.write(Buffer.alloc(bytes));
    if (hasEnded) stream.end();
    await waitFor(() => stream.queuedBytes === 0 || bytes > 0, { what: 'the end' });
    const reason = new TunnelError('closed', 'aborted');
    stream.destroy(reason);
    await waitFor(() => seen.isClosed, { what: 'close' });
    assert.equal(seen.error, reason);
  });
}

test('an abort reaches the peer as a reset', async (t) => {
  let failure: NodeJS.ErrnoException | undefined;
  const port = await listenTcp(t, (socket) => {
    socket.on('error', (err) => {
      failure = err;
    });
    socket.resume();
  });
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const stream = socketStream(socket);
  collect(stream);
  await waitFor(() => socket.readyState === 'open', { what: 'connection' });
  stream.write(Buffer.from('half an answer'));
  stream.destroy(new TunnelError('closed', 'aborted'));
  await waitFor(() => failure?.code === 'ECONNRESET', { what: 'a reset' });
});

/** A duplex that takes one write and then waits for `release`. */
function stalledDuplex(): { duplex: Duplex; release: () => void; taken: Buffer[] } {
  const taken: Buffer[] = [];
  const waiting: (() => void)[] = [];
  const take = (chunks: Buffer[], callback: () => void): void => {
    taken.push(...chunks);
    waiting.push(callback);
  };
  const duplex = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _encoding, callback) => take([chunk], callback),
    writev: (chunks, callback) =>
      take(
        chunks.map(({ chunk }) => chunk as Buffer),
        callback,
      ),
  });
  return { duplex, taken, release: () => waiting.shift()?.() };
}

test('bytes that come one by one for a peer that reads nothing are gathered, and leave in order', async () => {
  const { duplex, release, taken } = stalledDuplex();
  const stream = socketStream(duplex);
  const seen = collect(stream);
  const count = 20_000;
  for (let at = 0; at < count; at++) {
    stream.write(Buffer.of(at % 251));
    if (at % 7 === 0) await new Promise((resolve) => void setImmediate(resolve));
  }
  assert.equal(stream.queuedBytes, count);
  stream.end();
  await waitFor(
    () => {
      release();
      return duplex.writableFinished;
    },
    { what: 'the end of what was written' },
  );
  assert.ok(taken.length <= count / 50, `${taken.length} chunks`);
  assert.deepEqual(Buffer.concat(taken), Buffer.from(Array.from({ length: count }, (_, at) => at % 251)));
  stream.destroy();
  await waitFor(() => seen.isClosed, { what: 'close' });
});

test('a small chunk leaves as soon as the socket has taken what was before it', async () => {
  const { duplex, release, taken } = stalledDuplex();
  const stream = socketStream(duplex);
  const seen = collect(stream);
  const turn = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));
  for (const text of ['a', 'b', 'c', 'd']) {
    stream.write(Buffer.from(text));
    await turn();
  }
  for (let left = 4; left > 0; left--) {
    release();
    await turn();
  }
  assert.equal(Buffer.concat(taken).toString(), 'abcd');
  assert.equal(stream.queuedBytes, 0);
  stream.destroy();
  await waitFor(() => seen.isClosed, { what: 'close' });
});
