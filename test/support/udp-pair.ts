/** UDP services, users, providers and visitors on loopback, cleaned up with the test. */
import { createSocket } from 'node:dgram';
import type { RemoteInfo, Socket } from 'node:dgram';
import { systemClock } from '../../src/lib/clock.ts';
import { UdpProvider } from '../../src/tunnel/frpc/udp-provider.ts';
import { UdpVisitor } from '../../src/tunnel/frpc/udp-visitor.ts';
import type { FrpClient, ProxyDefinition, VisitorRequest } from '../../src/tunnel/frpc/types.ts';
import { userAddress } from '../../src/tunnel/frp/udp-link.ts';
import type { WireProtocol } from '../../src/tunnel/frp/wire-protocol.ts';
import { bindUdp } from '../../src/tunnel/udp-socket.ts';
import type { Cleanup } from './frp-pair.ts';
import { waitFor } from './wait.ts';

/** A socket on a free loopback port, closed after the test. */
export async function openUdp(t: Cleanup, port = 0, address = '127.0.0.1'): Promise<Socket> {
  const socket = createSocket('udp4');
  let isOpen = true;
  socket.on('close', () => {
    isOpen = false;
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, resolve);
  });
  socket.removeAllListeners('error');
  socket.on('error', () => {}); // tests look at what arrives
  t.after(() => {
    if (isOpen) socket.close();
  });
  return socket;
}

/** A service that answers each datagram with `answer` of it; gives its port and who has asked. */
export async function serveUdp(
  t: Cleanup,
  answer: (payload: Buffer, from: RemoteInfo) => Buffer = (payload) => payload,
): Promise<{ port: number; users: Set<number> }> {
  const socket = await openUdp(t);
  const users = new Set<number>();
  socket.on('message', (payload, from) => {
    users.add(from.port);
    socket.send(answer(payload, from), from.port, from.address);
  });
  return { port: socket.address().port, users };
}

/** A user: remembers what it is sent. */
export async function createUser(t: Cleanup): Promise<{
  socket: Socket;
  heard: string[];
  ask(port: number, text: string, address?: string): Promise<void>;
}> {
  const socket = await openUdp(t);
  const heard: string[] = [];
  socket.on('message', (payload) => heard.push(payload.toString('latin1')));
  return {
    socket,
    heard,
    /** Sends until the answer `text` is there, as UDP applications do. */
    async ask(port, text, address = '127.0.0.1') {
      let nextSend = 0;
      await waitFor(
        () => {
          if (heard.includes(text)) return true;
          if (performance.now() >= nextSend) {
            nextSend = performance.now() + 500;
            socket.send(Buffer.from(text, 'latin1'), port, address);
          }
          return false;
        },
        { what: `answer to "${text.slice(0, 40)}"` },
      );
    },
  };
}

/** Registers a proxy that leads to a UDP port on loopback, and waits until it runs. */
export async function publishUdp(
  t: Cleanup,
  client: FrpClient,
  port: number,
  changes: Partial<ProxyDefinition> = {},
): Promise<{ provider: UdpProvider; remotePort: number }> {
  const provider = new UdpProvider({
    clock: systemClock,
    target: () => ({ host: '127.0.0.1', port }),
    maxLinks: changes.type === 'udp' ? 1 : 1024,
  });
  const proxy = client.addProxy({
    name: 'time.default.pod',
    type: 'sudp',
    secretKey: 'key',
    onConnection: ({ stream, wire }) => provider.serve(stream, wire),
    ...changes,
  });
  t.after(() => provider.close());
  await waitFor(() => proxy.phase === 'running', { what: `proxy running; ${proxy.error ?? 'no error'}` });
  return { provider, remotePort: Number(proxy.remoteAddr?.split(':').at(-1)) };
}

/** Listens on a free loopback port and carries its users to a visitor. */
export async function listenUdpVisitor(
  t: Cleanup,
  client: FrpClient,
  changes: Partial<VisitorRequest> = {},
  wire: WireProtocol = 'v1',
): Promise<{ port: number; visitor: UdpVisitor }> {
  const visitor = new UdpVisitor({
    clock: systemClock,
    open: async (signal) => ({
      stream: await client.openVisitor(
        { proxyName: 'time.default.pod', secretKey: 'key', ...changes },
        signal,
      ),
      wire,
    }),
    onDatagram: ({ payload, user }) => socket.send(payload, user?.port, user?.ip),
    onFailure: () => {},
  });
  const socket = await bindUdp(
    { address: '127.0.0.1', port: 0 },
    {
      onDatagram: (payload, address, port) => visitor.send({ payload, user: userAddress(address, port) }),
      onError: () => {},
    },
  );
  t.after(() => {
    visitor.close();
    socket.close();
  });
  return { port: socket.port ?? 0, visitor };
}
