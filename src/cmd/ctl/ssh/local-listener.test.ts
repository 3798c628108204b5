/** Ports on this side, on several addresses of loopback. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { checkLeaks } from '../../../../test/support/leak-check.ts';
import { freePort } from '../../../../test/support/ports.ts';
import { listenHere } from './local-listener.ts';
import type { LocalListener } from './local-listener.ts';

checkLeaks();

const [FIRST, SECOND] = ['127.0.0.1', '127.0.0.7'];
/** One that no machine has: it is for documentation (RFC 5737). */
const FOREIGN = '192.0.2.1';

async function listen(t: TestContext, addresses: string[], port: number): Promise<LocalListener> {
  const listener = await listenHere({ host: 'a-name', port }, '-L', {
    onConnection: (socket) => socket.end('hello'),
    onError: assert.fail,
    addressesOf: (host) => Promise.resolve(host === 'a-name' ? addresses : []),
  });
  t.after(() => listener.close());
  return listener;
}

async function greetingOf(host: string, port: number): Promise<string> {
  const socket = connect({ host, port });
  let text = '';
  socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  await once(socket, 'end');
  return text;
}

test('a port is open on every address of the name', async (t) => {
  const { address } = await listen(t, [FIRST, FOREIGN, SECOND], 0);
  const [host = '', port] = address.split(':');
  assert.equal(host, FIRST);
  for (const each of [FIRST, SECOND]) assert.equal(await greetingOf(each, Number(port)), 'hello');
});

test('a port that is taken on one address is an error, and leaves nothing open', async (t) => {
  const port = await freePort();
  const other = await listen(t, [SECOND], port);
  await assert.rejects(listen(t, [FIRST, SECOND], port), {
    code: 'EDGE_ERR_CTL_FORWARD',
    message: /^-L: cannot listen on a-name:\d+: .*address already in use/u,
  });
  await assert.rejects(greetingOf(FIRST, port), { code: 'ECONNREFUSED' });
  other.close();
  await listen(t, [FIRST, SECOND], port);
});

test('a name without an address of this machine is an error', async (t) => {
  await assert.rejects(listen(t, [FOREIGN], 0), /^EdgeError.*cannot listen on a-name:0: /u);
});
