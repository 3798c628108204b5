/** Holds the transport of the current access; replaces it when the files behind it change or stop being accepted. */
import { readFileSync, statSync } from 'node:fs';
import { parseKubeconfig } from './kubeconfig.ts';
import type { ClusterAccess } from './kubeconfig.ts';
import { createTransport } from './transport.ts';
import type { Transport } from './transport.ts';

/** How often the files behind an access are looked at while calls are made, milliseconds. */
const FILE_CHECK_MS = 1000;

/** The changing way to one API server. */
export interface Connection {
  /** The address in use; empty before the first call when the access is loaded on demand. */
  server(): string;
  /** The transport to use now; rejects when there is no usable access. */
  current(): Promise<Transport>;
  /** Reads the access again because `refused` was not accepted; gives `refused` back when nothing changed. */
  renew(refused: Transport): Promise<Transport>;
  /** Drops idle connections; the next call opens a new one. */
  drop(): void;
  close(): void;
}

/** Creates a connection; nothing is read or opened before the first call. */
export function createConnection(given: ClusterAccess | (() => Promise<ClusterAccess>)): Connection {
  let transport: Transport | undefined;
  let loading: Promise<Transport> | undefined;
  let stamps = '';
  let checkedAt = 0;
  let isClosed = false;
  const retired = new Set<Transport>();
  const load =
    typeof given === 'function'
      ? given
      : () => Promise.resolve(transport === undefined ? given : reread(given));

  /** Calls under way keep the connection they have; idle ones go at once. */
  const replace = (access: ClusterAccess): Transport => {
    for (const old of retired) if (old.isIdle) retired.delete(old);
    if (transport !== undefined) {
      transport.retire();
      retired.add(transport);
    }
    transport = createTransport(access);
    if (isClosed) transport.close();
    return transport;
  };

  const open = async (): Promise<Transport> => {
    const access = await load();
    const previous = transport;
    stamps = stampsOf(access);
    if (previous !== undefined && isSame(previous.access, access)) return previous;
    return replace(access);
  };

  const reopen = (): Promise<Transport> => {
    loading ??= open().finally(() => {
      loading = undefined;
    });
    return loading;
  };

  /** A file that is gone or half-written is no reason to stop: the credentials at hand may still do. */
  const reopenOr = async (fallback: Transport): Promise<Transport> => {
    try {
      return await reopen();
    } catch {
      return fallback;
    }
  };

  return {
    server: () => transport?.access.server ?? (typeof given === 'function' ? '' : given.server),
    async current() {
      if (transport === undefined) return reopen();
      const now = performance.now();
      if (now - checkedAt < FILE_CHECK_MS) return transport;
      checkedAt = now;
      return stampsOf(transport.access) === stamps ? transport : reopenOr(transport);
    },
    renew: (refused) => (refused === transport ? reopenOr(refused) : Promise.resolve(transport ?? refused)),
    drop() {
      if (transport === undefined || isClosed) return;
      replace(transport.access);
    },
    close() {
      isClosed = true;
      for (const each of [...retired, transport]) each?.close();
    },
  };
}

function reread(access: ClusterAccess): ClusterAccess {
  if (access.source === undefined) return access;
  return parseKubeconfig(readFileSync(access.source, 'utf8'), access.source, access.context);
}

function isSame(a: ClusterAccess, b: ClusterAccess): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function stampsOf(access: ClusterAccess): string {
  const files = access.files ?? (access.source === undefined ? [] : [access.source]);
  return files.map((path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 'none').join(' ');
}
