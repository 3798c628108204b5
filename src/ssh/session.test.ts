/** Sessions with an sshd in this process, for what a real one does only now and then. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { Server, utils } from 'ssh2';
import type { ServerChannel } from 'ssh2';
import { systemClock } from '../lib/clock.ts';
import { waitFor } from '../../test/support/wait.ts';
import { socketStream } from '../tunnel/socket-stream.ts';
import { openSession } from './session.ts';
import type { SshSession } from './session.ts';

/** Passes TCP on; while `isHolding`, what comes from the target waits, and leaves as one piece. */
class Holder {
  isHolding = false;
  readonly #target: number;
  readonly #held: Buffer[] = [];
  #client: Socket | undefined;

  constructor(target: number) {
    this.#target = target;
  }

  async listen(t: TestContext): Promise<number> {
    const server = createServer((client) => {
      this.#client = client;
      const target = connect(this.#target, '127.0.0.1');
      client.pipe(target).on('data', (chunk: Buffer) => {
        if (this.isHolding) this.#held.push(chunk);
        else client.write(chunk);
      });
      client.on('close', () => target.destroy()).on('error', () => {});
      target.on('close', () => client.destroy()).on('error', () => {});
    }).listen(0, '127.0.0.1');
    t.after(() => server.close());
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  get heldBytes(): number {
    return this.#held.reduce((sum, { length }) => sum + length, 0);
  }

  letGo(): void {
    this.isHolding = false;
    this.#client?.write(Buffer.concat(this.#held.splice(0)));
  }
}

/** A session with an sshd that answers any command or shell by `onStart`. */
async function setUp(
  t: TestContext,
  onStart: (sshd: ServerChannel, holder: Holder) => void,
): Promise<{ session: SshSession; holder: Holder }> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = privateKey.export({ type: 'pkcs1', format: 'pem' });
  const parsed = utils.parseKey(pem);
  assert.ok(!(parsed instanceof Error) && !Array.isArray(parsed));
  let holder: Holder;
  const sshd = new Server({ hostKeys: [pem] }, (client) => {
    client.on('authentication', (request) => request.accept());
    client.on('error', () => {}); // the end of the test
    client.on('session', (accept) => {
      const channels = accept();
      channels.on('exec', (acceptExec) => onStart(acceptExec(), holder));
      channels.on('shell', (acceptShell) => onStart(acceptShell(), holder));
    });
  }).listen(0, '127.0.0.1');
  t.after(() => sshd.close());
  await once(sshd, 'listening');
  holder = new Holder((sshd.address() as AddressInfo).port);
  const socket = connect({ host: '127.0.0.1', port: await holder.listen(t), allowHalfOpen: true });
  const session = await openSession(socketStream(socket), {
    user: 'edge',
    methods: [{ kind: 'password', ask: () => Promise.resolve('secret') }],
    hostKey: { node: 'node-7', told: [`${parsed.type} ${parsed.getPublicSSH().toString('base64')}`] },
    clock: systemClock,
  });
  t.after(() => session.close());
  return { session, holder };
}

/** What the sshd says here: success, output, status, end of file and close, each padded and with its tag. */
const ALL_BYTES = 200;

for (const kind of ['command', 'shell'] as const) {
  test(`a ${kind} whose start and end arrive as one piece has its output and its status`, async (t) => {
    const { session, holder } = await setUp(t, (sshd, held) => {
      held.isHolding = true;
      sshd.write('done\n');
      sshd.exit(7);
      sshd.end();
    });
    const starting = kind === 'command' ? session.exec('true', {}) : session.shell({});
    await waitFor(() => holder.heldBytes >= ALL_BYTES, { what: 'all that the sshd says' });
    holder.letGo();
    const channel = await starting;
    let output = '';
    channel.io.setEncoding('utf8').on('data', (text: string) => (output += text));
    channel.stderr.resume();
    assert.deepEqual(await channel.exit, { status: 7, signal: undefined });
    assert.equal(output, 'done\n');
  });
}
