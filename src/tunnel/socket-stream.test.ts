import assert from 'node:assert/strict';
import { connect } from 'node:net';
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
    await waitFor(() => seen.isClosed, { what: 'close', timeoutMs: 1000 });
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
