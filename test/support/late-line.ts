/** A TCP forwarder that holds back what passes it, each way: a Router that is further away. */
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import type { Cleanup } from './temp-dir.ts';

/** Listens on `host`:`port` and forwards to 127.0.0.1 on the same port, `delayMs` later each way. Closed after the test. */
export async function startLateLine(
  t: Cleanup,
  { host, port, delayMs }: { host: string; port: number; delayMs: number },
): Promise<void> {
  const open = new Set<Socket>();
  const carry = (from: Socket, to: Socket): void => {
    open.add(from);
    from.on('data', (chunk: Buffer) => setTimeout(() => to.write(chunk), delayMs));
    from.on('close', () => {
      open.delete(from);
      to.destroy();
    });
    from.on('error', () => {});
  };
  const server = createServer({ noDelay: true }, (socket) => {
    const out = connect({ host: '127.0.0.1', port, noDelay: true });
    carry(socket, out);
    carry(out, socket);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
  t.after(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
}
