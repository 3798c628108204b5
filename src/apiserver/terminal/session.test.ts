/** One terminal between a socket and a node that are both fakes: login, back-pressure, endings of either side, time. */
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { EdgeError } from '../../lib/errors.ts';
import type { SshChannel } from '../../ssh/channel.ts';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import { waitFor } from '../../../test/support/wait.ts';
import type { ServerMessage } from './messages.ts';
import type { NodeSession, NodeSessions, SessionRequest } from './node-sessions.ts';
import { NO_LOGIN } from './login.ts';
import { HIGH_WATER_BYTES, runTerminal } from './session.ts';
import type { TerminalDeps, TerminalHandler, TerminalRequest, TerminalSocket } from './session.ts';

class FakeSocket implements TerminalSocket {
  shown = '';
  messages: ServerMessage[] = [];
  queuedBytes = 0;
  isPaused = false;
  closed: { code: number; reason: string } | undefined;
  handler: TerminalHandler | undefined;

  output(bytes: Uint8Array): void {
    this.shown += Buffer.from(bytes).toString();
    this.queuedBytes += bytes.length;
  }
  tell(message: ServerMessage): void {
    this.messages.push(message);
  }
  pause(): void {
    this.isPaused = true;
  }
  resume(): void {
    this.isPaused = false;
  }
  close(code: number, reason: string): void {
    this.closed ??= { code, reason };
  }
  setHandler(handler: TerminalHandler): void {
    this.handler = handler;
  }
  keys(text: string): void {
    this.handler?.onMessage({ kind: 'keys', bytes: Buffer.from(text) });
  }
}

/** A node that lets everybody in; what the shell reads and writes is the test's. */
class FakeNode implements NodeSessions, NodeSession {
  requests: SessionRequest[] = [];
  failure: Error | undefined;
  typed = new PassThrough({ highWaterMark: 10 });
  shellSide = new PassThrough();
  sizes: string[] = [];
  isClosed = false;
  #exit: (exit: { status: number | undefined; signal: string | undefined }) => void = () => {};
  #over: (err: Error | undefined) => void = () => {};
  readonly closed = new Promise<Error | undefined>((resolve) => {
    this.#over = resolve;
  });

  async open(request: SessionRequest): Promise<NodeSession> {
    this.requests.push(request);
    await request.asker?.ask('Password: ', false);
    if (this.failure !== undefined) throw this.failure;
    return this;
  }
  shell({ cols, rows }: { cols: number; rows: number }): Promise<SshChannel> {
    this.sizes.push(`${cols}x${rows}`);
    const { shellSide, typed } = this;
    const io = Object.assign(shellSide, {
      write: (chunk: Buffer) => typed.write(chunk),
    }) as unknown as SshChannel['io'];
    typed.on('drain', () => io.emit('drain'));
    return Promise.resolve({
      io,
      stderr: new PassThrough(),
      exit: new Promise((resolve) => {
        this.#exit = resolve;
      }),
      resize: (newCols, newRows) => void this.sizes.push(`${newCols}x${newRows}`),
      signal: () => {},
      close: () => this.close(),
    });
  }
  exec(): Promise<SshChannel> {
    return Promise.reject(new Error('not in this test'));
  }
  close(): void {
    this.isClosed = true;
    this.exit(undefined);
    this.#over(undefined);
  }
  exit(status: number | undefined): void {
    this.#exit({ status, signal: undefined });
  }
  breakOff(err: Error): void {
    this.#over(err);
    this.exit(undefined);
  }
}

function start(request: Partial<TerminalRequest> = {}, deps: Partial<TerminalDeps> = {}) {
  const socket = new FakeSocket();
  const node = new FakeNode();
  const clock = new FakeClock();
  const stop = new AbortController();
  const opened: string[] = [];
  const outcome = runTerminal(
    socket,
    {
      id: '00000000',
      object: {
        apiVersion: 'edge.example.com/v1',
        kind: 'NodeMaintenance',
        metadata: { name: 'nodemaintenances-7' },
        spec: { nodeName: 'node-7' },
      },
      admission: { identity: { username: 'ops', groups: [], roles: ['admin'] }, isVerified: true },
      size: { cols: 80, rows: 24 },
      user: undefined,
      isAuthExpected: false,
      ...request,
    },
    {
      sessions: node,
      clock,
      recordings: undefined,
      idleTimeoutMs: 60_000,
      onOpen: (user) => opened.push(user),
      signal: stop.signal,
      ...deps,
    },
  );
  /** Logs in by the questions of the terminal. */
  const logIn = async (): Promise<void> => {
    socket.keys('root\rpassword\r');
    await waitFor(() => opened.length > 0, { what: 'the shell' });
  };
  return { socket, node, clock, stop, opened, outcome, logIn };
}

test('the terminal asks for account and password, then the shell has it', async () => {
  const { socket, node, outcome, logIn, opened } = start();
  socket.handler?.onMessage({ kind: 'resize', cols: 100, rows: 30 });
  await logIn();
  assert.deepEqual(opened, ['root']);
  assert.equal(socket.shown, 'node-7 login: root\r\nPassword: \r\n');
  assert.equal(node.requests[0]?.login, NO_LOGIN);
  socket.handler?.onMessage({ kind: 'resize', cols: 120, rows: 40 });
  assert.deepEqual(node.sizes, ['100x30', '120x40']);
  socket.keys('ls\r');
  assert.equal(String(node.typed.read()), 'ls\r');
  node.shellSide.push('output');
  await waitFor(() => socket.shown.endsWith('output'), { what: 'the output' });
  node.exit(3);
  assert.deepEqual(await outcome, { user: 'root', exitStatus: 3, bytesIn: 3, bytesOut: 6 });
  assert.deepEqual(
    socket.messages.map(({ type }) => type),
    ['ready', 'exit'],
  );
  assert.deepEqual(socket.closed, { code: 1000, reason: 'the shell has ended' });
  assert.ok(node.isClosed);
});

test('credentials of a message go to the node, and nothing is asked before they are there', async () => {
  const { socket, node, opened, outcome } = start({ isAuthExpected: true, user: 'admin' });
  socket.keys('x\r'); // typed ahead
  assert.equal(node.requests.length, 0);
  const login = { ...NO_LOGIN, privateKey: 'KEY' };
  socket.handler?.onMessage({ kind: 'auth', login });
  await waitFor(() => opened.length > 0, { what: 'the shell' });
  assert.deepEqual([node.requests[0]?.user, node.requests[0]?.login], ['admin', login]);
  node.exit(0);
  await outcome;
});

test('a caller that takes nothing stops the node, and a node that takes nothing stops the caller', async () => {
  const { socket, node, outcome, logIn } = start();
  await logIn();
  node.shellSide.push(Buffer.alloc(HIGH_WATER_BYTES + 1, 'x'));
  await waitFor(() => node.shellSide.isPaused(), { what: 'the node to be stopped' });
  node.shellSide.push('more');
  assert.doesNotMatch(socket.shown, /more/u);
  socket.queuedBytes = 0;
  socket.handler?.onDrain();
  await waitFor(() => socket.shown.endsWith('more'), { what: 'the rest' });

  socket.keys('0123456789abcdef');
  assert.ok(socket.isPaused);
  node.typed.resume();
  await waitFor(() => !socket.isPaused, { what: 'the caller to go on' });
  node.exit(0);
  await outcome;
});

test('whoever ends it first ends both, and the reason is told', async (t) => {
  await t.test('the caller goes', async () => {
    const { socket, node, outcome, logIn } = start();
    await logIn();
    socket.handler?.onClose();
    assert.equal((await outcome).failure?.code, 'EDGE_ERR_TERMINAL_CLOSED');
    assert.ok(node.isClosed);
  });
  await t.test('the caller goes before it has logged in', async () => {
    const { socket, node, outcome } = start();
    socket.handler?.onClose();
    assert.equal((await outcome).failure?.code, 'EDGE_ERR_TERMINAL_CLOSED');
    assert.equal(node.requests.length, 0);
  });
  await t.test('the connection to the node breaks', async () => {
    const { socket, node, outcome, logIn } = start();
    await logIn();
    node.breakOff(new EdgeError('EDGE_ERR_SSH_CLOSED', 'the connection to node-7 broke'));
    assert.equal((await outcome).failure?.code, 'EDGE_ERR_SSH_CLOSED');
    assert.match(socket.shown, /\[edge: the connection to node-7 broke\]\r\n$/u);
    assert.equal(socket.closed?.code, 1011);
  });
  await t.test('the node lets nobody in', async () => {
    const { socket, node, outcome } = start();
    node.failure = new EdgeError('EDGE_ERR_SSH_AUTH', 'node-7 lets nobody in', { hint: 'try a key' });
    socket.keys('root\rwrong\r');
    assert.equal((await outcome).failure?.status, 403);
    assert.deepEqual(socket.closed, { code: 1008, reason: 'node-7 lets nobody in (try a key)' });
    assert.equal(socket.messages[0]?.type, 'error');
  });
  await t.test('the server stops', async () => {
    const { socket, stop, outcome, logIn } = start();
    await logIn();
    stop.abort();
    await outcome;
    assert.equal(socket.closed?.code, 1001);
  });
  await t.test('a message cannot be followed', async () => {
    const { socket, outcome, logIn } = start();
    await logIn();
    socket.handler?.onMessage({ kind: 'wrong', why: 'resize: wanted cols and rows' });
    assert.equal((await outcome).failure?.message, 'resize: wanted cols and rows');
    assert.equal(socket.closed?.code, 1008);
  });
});

test('nobody stays who does nothing: not before the login, and not in the shell', async () => {
  const silent = start();
  silent.clock.advance(120_000);
  assert.equal((await silent.outcome).failure?.code, 'EDGE_ERR_TERMINAL_LOGIN');
  assert.equal(silent.clock.pendingTimers, 0);

  const idle = start();
  await idle.logIn();
  idle.clock.advance(50_000);
  idle.socket.keys('x');
  idle.clock.advance(50_000);
  assert.equal(idle.socket.closed, undefined);
  idle.clock.advance(10_000);
  const { failure } = await idle.outcome;
  assert.deepEqual(
    [failure?.code, failure?.message],
    ['EDGE_ERR_TERMINAL_IDLE', 'nothing happened for 1 minutes'],
  );
  assert.equal(idle.clock.pendingTimers, 0);
});
