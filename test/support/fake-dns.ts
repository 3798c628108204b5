/** An upstream DNS server whose answers, delays and lies the test decides; UDP and TCP on one loopback port. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { decode, encode } from 'dns-packet';
import { errorCode } from '../../src/lib/errors.ts';
import type { RemoteInfo, Socket as UdpSocket } from 'node:dgram';
import type { Server, Socket as TcpSocket } from 'node:net';
import type { Answer, DecodedPacket } from 'dns-packet';

/** One query as it arrived. */
export interface UpstreamQuery {
  transport: 'udp' | 'tcp';
  id: number;
  name: string;
  /** The sender's port. */
  port: number;
  bytes: Buffer;
  packet: DecodedPacket;
}

/** Messages to send back, in order; none keeps the client waiting. */
export type Behaviour = (query: UpstreamQuery) => readonly Buffer[] | Promise<readonly Buffer[]>;

/** A running fake. */
export interface FakeDns {
  host: string;
  port: number;
  queries: UpstreamQuery[];
  behave(behaviour: Behaviour): void;
  stop(): Promise<void>;
}

/** An answer to a query; `flags` are added (0x200 is TC, the low bits the rcode). */
export function answerTo(
  query: UpstreamQuery,
  answers: Answer[],
  flags = 0,
  authorities: Answer[] = [],
): Buffer {
  return encode({
    type: 'response',
    id: query.id,
    flags: 0x180 | flags,
    questions: query.packet.questions ?? [],
    answers,
    authorities,
  });
}

/** An address record with this TTL, seconds. */
export function addressRecord(name: string, data: string, ttl = 60): Answer {
  return { type: 'A', name, ttl, data };
}

/** Where fakes listen: connections that other programs open come from 127.0.0.1, so their ports are not in the way here. */
export const FAKE_DNS_HOST = '127.0.0.9';
/** How often a port is looked for that is free for UDP and TCP. */
const FREE_PORT_TRIES = 20;

/** Starts a fake that answers every name with 192.0.2.1. */
export async function startFakeDns(port = 0, host = FAKE_DNS_HOST): Promise<FakeDns> {
  let behaviour: Behaviour = (query) => [answerTo(query, [addressRecord(query.name, '192.0.2.1')])];
  const queries: UpstreamQuery[] = [];
  const take = async (bytes: Buffer, transport: 'udp' | 'tcp', from: number): Promise<readonly Buffer[]> => {
    const packet = decode(bytes);
    const name = packet.questions?.[0]?.name ?? '';
    const query = { transport, id: packet.id ?? 0, name, port: from, bytes, packet };
    if (name !== '.') queries.push(query); // "." is a probe, not a question of a test
    return behaviour(query);
  };

  const onDatagram = (udp: UdpSocket, bytes: Buffer, peer: RemoteInfo): void => {
    void take(bytes, 'udp', peer.port).then((answers) => {
      for (const answer of answers) udp.send(answer, peer.port, peer.address, () => {});
    });
  };
  const sockets = new Set<TcpSocket>();
  const onConnection = (socket: TcpSocket): void => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {}); // the client may leave first
    socket.on('data', (chunk) => {
      void take(chunk.subarray(2), 'tcp', socket.remotePort ?? 0).then((answers) => {
        for (const answer of answers) {
          const prefix = Buffer.alloc(2);
          prefix.writeUInt16BE(answer.length);
          socket.write(Buffer.concat([prefix, answer]));
        }
      });
    });
  };
  const { udp, tcp } = await bindBoth(port, host);
  udp.on('message', (bytes, peer) => onDatagram(udp, bytes, peer));
  tcp.on('connection', onConnection);

  return {
    host,
    port: udp.address().port,
    queries,
    behave: (next) => {
      behaviour = next;
    },
    stop: async () => {
      for (const socket of sockets) socket.destroy();
      await Promise.all([closed(udp), closed(tcp)]);
    },
  };
}

// A port that is free for UDP may be taken for TCP; when any port will do, another is tried. Leaves nothing behind.
async function bindBoth(port: number, host: string): Promise<{ udp: UdpSocket; tcp: Server }> {
  for (let attempt = 1; ; attempt += 1) {
    const [udp, tcp] = [createSocket('udp4'), createServer()];
    let isBound = false;
    try {
      udp.bind(port, host);
      await once(udp, 'listening');
      isBound = true;
      tcp.listen(udp.address().port, host);
      await once(tcp, 'listening');
      return { udp, tcp };
    } catch (err) {
      await closed(udp);
      const mayRetry = port === 0 && isBound && errorCode(err) === 'EADDRINUSE' && attempt < FREE_PORT_TRIES;
      if (!mayRetry) throw err;
    }
  }
}

function closed(socket: UdpSocket | Server): Promise<void> {
  return new Promise((resolve) => {
    socket.close(() => resolve());
  });
}
