/** What a sidecar remembers on disk: addresses and the last seen Routers. Losing it costs time, never correctness. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ORIGIN_ANNOTATION } from '../api/edge.ts';
import type { Router, RouterStatusActiveService } from '../api/gen/types.ts';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import type { Clock, Timer } from '../lib/clock.ts';
import { errorCode, errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { isRouter } from './router-shape.ts';
import { isRecord } from '../lib/json.ts';

/** The content of the cache. */
export interface CachedState {
  /** By `NAME.NAMESPACE`. */
  addresses: Readonly<Record<string, string>>;
  /** Ports of services that were mapped without one, by `NAME.NAMESPACE`. */
  ports: Readonly<Record<string, readonly number[]>>;
  routers: readonly Router[];
}

/** The cache of one sidecar. */
export interface StateCache {
  /** The remembered state; undefined when there is none that can be used. Never rejects. */
  load(): Promise<CachedState | undefined>;
  /** Asks for a write of `state()` soon; calls in quick succession cost one write. */
  save(state: () => CachedState): void;
  /** Writes what is pending; what cannot be written is left for the next save. Never rejects. */
  flush(): Promise<void>;
}

/** Provider changes come often and every write is an fsync: one write in this many milliseconds is enough. */
const WRITE_PERIOD_MS = 2000;
/** A disk that is full or gone is tried again this often, milliseconds. */
const RETRY_MS = 10_000;
const FORMAT_VERSION = 1;

/** Creates the cache in `dir`/state.json. */
export function createStateCache(dir: string, deps: { clock: Clock; log: Logger }): StateCache {
  const path = join(dir, 'state.json');
  let pending: (() => CachedState) | undefined;
  let timer: Timer | undefined;
  let writing: Promise<void> = Promise.resolve();
  let written = '';
  let hasWarned = false;

  const write = async (): Promise<void> => {
    const state = pending;
    pending = undefined;
    if (state === undefined) return;
    const text = `${JSON.stringify({ version: FORMAT_VERSION, ...trimmed(state()) })}\n`;
    if (text === written) return;
    try {
      await writeFileAtomic(path, text);
      written = text;
      if (hasWarned) deps.log.info('the cache is written again', { path });
      hasWarned = false;
    } catch (err) {
      if (!hasWarned)
        deps.log.warn('cannot write the cache; a restart without the apiserver will know less', {
          path,
          error: errorMessage(err),
        });
      hasWarned = true;
      pending ??= state;
    }
  };
  const flush = (): Promise<void> => {
    timer?.cancel();
    timer = undefined;
    writing = writing.then(write);
    return writing;
  };
  const writeInTime = async (): Promise<void> => {
    await flush();
    if (hasWarned && pending !== undefined) timer ??= deps.clock.after(RETRY_MS, () => void writeInTime());
  };
  return {
    async load() {
      try {
        const text = await readFile(path, 'utf8');
        return parseState(text);
      } catch (err) {
        if (errorCode(err) !== 'ENOENT')
          deps.log.warn('ignoring the cache', { path, error: errorMessage(err) });
        return undefined;
      }
    },
    save(state) {
      pending = state;
      timer ??= deps.clock.after(WRITE_PERIOD_MS, () => void writeInTime());
    },
    flush,
  };
}

/** Reads the file's text; throws when it is damaged or of another version. */
export function parseState(text: string): CachedState {
  const value: unknown = JSON.parse(text);
  if (!isRecord(value) || value['version'] !== FORMAT_VERSION) throw new Error('not a cache of this version');
  const { addresses, ports, routers } = value;
  if (!isRecord(addresses) || !isRecord(ports) || !Array.isArray(routers)) {
    throw new Error('addresses, ports or routers are missing');
  }
  if (!Object.values(ports).every(isPortList)) throw new Error('ports are not numbers');
  if (!Object.values(addresses).every((address) => typeof address === 'string'))
    throw new Error('an address is not a text');
  if (!routers.every(isRouter)) throw new Error('a Router is damaged');
  return {
    addresses: addresses as Record<string, string>,
    ports: ports as Record<string, number[]>,
    routers,
  };
}

function isPortList(value: unknown): boolean {
  return Array.isArray(value) && value.every((port) => Number.isInteger(port) && port >= 1 && port <= 65_535);
}

/** Leaves out what changes with every connection, so that an unchanged cache is not written again. */
function trimmed(state: CachedState): CachedState {
  return { addresses: state.addresses, ports: state.ports, routers: state.routers.map(trimmedRouter) };
}

function trimmedRouter(router: Router): Router {
  const { name, annotations } = router.metadata;
  const origin = annotations?.[ORIGIN_ANNOTATION];
  const { addresses, conditions, version, activeServices } = router.status ?? {};
  return {
    apiVersion: router.apiVersion,
    kind: router.kind,
    metadata: {
      ...(name === undefined ? {} : { name }),
      ...(origin === undefined ? {} : { annotations: { [ORIGIN_ANNOTATION]: origin } }),
    },
    spec: router.spec,
    status: {
      ...(addresses === undefined ? {} : { addresses }),
      ...(version === undefined ? {} : { version }),
      ...(conditions === undefined ? {} : { conditions }),
      activeServices: (activeServices ?? []).map(trimmedService),
    },
  };
}

function trimmedService(service: RouterStatusActiveService): RouterStatusActiveService {
  const providers = (service.providers ?? []).map(({ connections: _changing, ...provider }) => ({
    ...provider,
    ready: provider.ready ?? true,
  }));
  return { ...service, providers };
}
