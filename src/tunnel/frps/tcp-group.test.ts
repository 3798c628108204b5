import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { connect } from 'node:net';
import { test } from 'node:test';
import { listenTcp } from '../../../test/support/frp-pair.ts';
import { checkLeaks } from '../../../test/support/leak-check.ts';
import { waitFor } from '../../../test/support/wait.ts';
import { systemClock } from '../../lib/clock.ts';
import { silentLogger } from '../../lib/log.ts';
import { TUNNEL_ERRORS, TunnelError } from '../errors.ts';
import { PortAllocator } from './ports.ts';
import { TcpGroups } from './tcp-group.ts';
import type { GroupMember, GroupRequest } from './tcp-group.ts';

checkLeaks();

const REQUEST: GroupRequest = { group: 'web', key: 'key', wantedPort: 0, bindAddr: '127.0.0.1' };

function createGroups(): TcpGroups {
  const ports = new PortAllocator([], { clock: systemClock, random: Math.random });
  return new TcpGroups({ ports, log: silentLogger });
}

/** A member that answers with its name, or whose client cannot. */
function member(name: string, isBroken = false): GroupMember {
  return {
    name,
    serve: (socket: Socket) => {
      if (isBroken) return Promise.reject(new TunnelError('timeout', 'no work connection'));
      socket.end(name, () => socket.destroy());
      return Promise.resolve();
    },
  };
}

function ask(port: number): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect({ port, host: '127.0.0.1' });
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString();
    });
    socket.on('error', (err: NodeJS.ErrnoException) => resolve(err.code ?? ''));
    socket.on('close', () => resolve(answer));
  });
}

test('members take turns, and the port goes with the last of them', async () => {
  const groups = createGroups();
  const [a, b] = await Promise.all([groups.join(member('a'), REQUEST), groups.join(member('b'), REQUEST)]);
  assert.equal(a.port, b.port);
  const answers = [await ask(a.port), await ask(a.port), await ask(a.port), await ask(a.port)];
  assert.deepEqual(answers, ['a', 'b', 'a', 'b']);
  a.close();
  a.close();
  assert.deepEqual([await ask(b.port), await ask(b.port)], ['b', 'b']);
  b.close();
  assert.equal(await ask(b.port), 'ECONNREFUSED');
});

test('a group that comes back in the same moment gets its port again, asked for or not', async () => {
  const groups = createGroups();
  let before = 0;
  for (const wantedPort of [0, 0]) {
    const joined = await groups.join(member('a'), { ...REQUEST, wantedPort });
    if (before !== 0) assert.equal(joined.port, before);
    before = joined.port;
    joined.close();
  }
  const first = await groups.join(member('a'), { ...REQUEST, wantedPort: before });
  first.close();
  const second = await groups.join(member('b'), { ...REQUEST, key: 'other', wantedPort: before });
  assert.equal(await ask(before), 'b');
  second.close();
});

test('a member must ask for what the first asked for', async () => {
  const groups = createGroups();
  const joined = await groups.join(member('a'), REQUEST);
  for (const [changes, why] of [
    [{ key: 'wrong' }, 'group auth failed'],
    [{ wantedPort: 20_000, key: 'wrong' }, 'group should have same remote port'],
    [{ bindAddr: '127.0.0.2', wantedPort: 20_000 }, 'group params invalid'],
  ] as const) {
    await assert.rejects(groups.join(member('b'), { ...REQUEST, ...changes }), {
      code: TUNNEL_ERRORS.proxyRefused,
      message: why,
    });
  }
  assert.equal(await ask(joined.port), 'a');
  joined.close();
});

test('a port that cannot be had refuses everyone who waits for it, and nothing is left', async (t) => {
  const taken = await listenTcp(t, (socket) => socket.destroy());
  const groups = createGroups();
  const request = { ...REQUEST, wantedPort: taken };
  const outcomes = await Promise.allSettled([
    groups.join(member('a'), request),
    groups.join(member('b'), request),
  ]);
  for (const outcome of outcomes) assert.equal(outcome.status, 'rejected');
  const joined = await groups.join(member('c'), REQUEST);
  joined.close();
});

test('a connection whose member cannot serve goes to another, within a bound', async () => {
  const groups = createGroups();
  const joined = [
    await groups.join(member('broken', true), REQUEST),
    await groups.join(member('a'), REQUEST),
  ];
  const port = joined[0]?.port as number;
  assert.deepEqual([await ask(port), await ask(port), await ask(port)], ['a', 'a', 'a']);
  joined[1]?.close();
  assert.match(await ask(port), /^(?:ECONNRESET)?$/u);
  joined[0]?.close();
  await waitFor(async () => (await ask(port)) === 'ECONNREFUSED', { what: 'the port to be free' });
});
