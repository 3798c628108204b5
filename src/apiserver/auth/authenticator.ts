/** Says who sent a request: client certificate, bearer token, unix socket, or nobody. */
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { unauthorized } from '../../api/status.ts';
import { rolesOfGroups } from './roles.ts';
import type { Identity } from './roles.ts';
import type { TokenLookup } from './tokens.ts';

/** How a request came in. */
export type Transport = 'https' | 'http' | 'socket';

/** What the authenticator looks at. */
export interface Credentials {
  transport: Transport;
  authorization: string | undefined;
  incoming: IncomingMessage | undefined;
}

const SOCKET_IDENTITY: Identity = {
  username: 'edge:socket',
  groups: ['edge:sidecar', 'system:authenticated'],
  roles: ['sidecar'],
};
const LOOPBACK_ADMIN: Identity = {
  username: 'edge:loopback',
  groups: ['edge:admin', 'system:authenticated'],
  roles: ['admin'],
};

/** One value or many, as Node shows repeated fields of a certificate's subject. */
function values(field: string | string[] | undefined): string[] {
  return field === undefined ? [] : Array.isArray(field) ? field : [field];
}

/** Creates the authenticator. It throws a 401 Status for missing and for wrong credentials alike. */
export function createAuthenticator(tokens: TokenLookup | undefined): (credentials: Credentials) => Identity {
  // a connection's certificate does not change; reading it costs more than the rest of a small request
  const bySocket = new WeakMap<object, Identity>();

  function fromCertificate(incoming: IncomingMessage): Identity | undefined {
    const socket = incoming.socket as TLSSocket;
    const known = bySocket.get(socket);
    if (known !== undefined) return known;
    const subject = socket.getPeerCertificate().subject as Record<string, string | string[]> | undefined;
    if (subject === undefined) return undefined; // no certificate was offered
    if (!socket.authorized) throw unauthorized();
    const username = values(subject['CN'])[0] ?? '';
    if (username === '') throw unauthorized();
    const groups = values(subject['O']);
    const identity = { username, groups: [...groups, 'system:authenticated'], roles: rolesOfGroups(groups) };
    bySocket.set(socket, identity);
    return identity;
  }

  return ({ transport, authorization, incoming }) => {
    if (transport === 'https' && incoming !== undefined) {
      const identity = fromCertificate(incoming);
      if (identity !== undefined) return identity;
    }
    if (authorization !== undefined) {
      const token = /^bearer +(\S+)$/iu.exec(authorization)?.[1];
      const identity = token === undefined ? undefined : tokens?.(token);
      if (identity === undefined) throw unauthorized();
      return identity;
    }
    if (transport === 'socket') return SOCKET_IDENTITY;
    if (transport === 'http') return LOOPBACK_ADMIN;
    throw unauthorized();
  };
}
