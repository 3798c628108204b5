/** Load-balancing groups of tcp proxies: members share one port, connections go to them in turn. */
import type { Socket } from 'node:net';
import type { Logger } from '../../lib/log.ts';
import { TunnelError } from '../errors.ts';
import type { PortAllocator } from './ports.ts';
import { listenForUsers } from './proxy-listener.ts';
import type { ProxyListener } from './proxy-listener.ts';

/** A proxy in a group. */
export interface GroupMember {
  readonly name: string;
  /** Carries a user's connection. Rejects when its client cannot, with the socket untouched. */
  serve(socket: Socket): Promise<void>;
}

/** What a member asks for; it must be what the group's first member asked for. */
export interface GroupRequest {
  group: string;
  key: string;
  wantedPort: number;
  bindAddr: string;
}

/** Members that one connection is offered to. */
const MAX_TRIES = 3;

interface Group {
  request: GroupRequest;
  /** In turn: the first is next. */
  members: GroupMember[];
  listener: Promise<ProxyListener>;
  /** Closes the port, now or as soon as it is bound. */
  close(): void;
}

/** All groups of a server. A group lives from its first member to its last. */
export class TcpGroups {
  readonly #deps: { ports: PortAllocator; log: Logger };
  readonly #groups = new Map<string, Group>();

  constructor(deps: { ports: PortAllocator; log: Logger }) {
    this.#deps = deps;
  }

  /** Adds a member; closing what it gets takes it out. Rejects with TunnelError (proxyRefused), in frps' words. */
  async join(member: GroupMember, request: GroupRequest): Promise<ProxyListener> {
    const group = this.#groups.get(request.group) ?? this.#create(request);
    const refusal = refusalOf(group.request, request);
    if (refusal !== undefined) throw new TunnelError('proxyRefused', refusal);
    group.members.push(member);
    try {
      const { port } = await group.listener;
      return { port, close: () => this.#leave(group, member) };
    } catch (err) {
      this.#leave(group, member);
      throw err;
    }
  }

  #create(request: GroupRequest): Group {
    const { ports } = this.#deps;
    const { wantedPort, bindAddr } = request;
    let bound: ProxyListener | undefined;
    let isClosed = false;
    const listen = async (): Promise<ProxyListener> => {
      const owner = `group ${request.group}`;
      bound = await listenForUsers({ owner, wantedPort, bindAddr, ports }, (socket) => {
        this.#serve(group, socket).catch((err: unknown) => {
          socket.destroy();
          this.#deps.log.debug('user connection failed', { group: request.group, error: err });
        });
      });
      if (isClosed) bound.close();
      return bound;
    };
    const group: Group = {
      request,
      members: [],
      listener: listen(),
      close: () => {
        isClosed = true;
        bound?.close();
      },
    };
    this.#groups.set(request.group, group);
    return group;
  }

  #leave(group: Group, member: GroupMember): void {
    group.members = group.members.filter((other) => other !== member);
    if (group.members.length > 0 || this.#groups.get(group.request.group) !== group) return;
    this.#groups.delete(group.request.group);
    group.close();
  }

  async #serve(group: Group, socket: Socket): Promise<void> {
    const tried = new Set<GroupMember>();
    for (;;) {
      const member = group.members.find((candidate) => !tried.has(candidate));
      if (member === undefined) throw new TunnelError('closed', 'the group has no other member');
      tried.add(member);
      group.members = [...group.members.filter((other) => other !== member), member];
      try {
        await member.serve(socket);
        return;
      } catch (err) {
        if (tried.size >= MAX_TRIES || socket.destroyed) throw err;
      }
    }
  }
}

/** Why a group does not take a member; the order of the checks is frps'. */
function refusalOf(first: GroupRequest, request: GroupRequest): string | undefined {
  if (first.bindAddr !== request.bindAddr) return 'group params invalid';
  if (first.wantedPort !== request.wantedPort) return 'group should have same remote port';
  return first.key === request.key ? undefined : 'group auth failed';
}
