/** A whole API server application over a store in a temporary directory, for tests: requests without sockets, or with. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Status } from '../../src/api/status.ts';
import type { KubeObject } from '../../src/api/meta.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { listenHttp } from '../../src/lib/http.ts';
import type { HttpServer } from '../../src/lib/http.ts';
import { silentLogger } from '../../src/lib/log.ts';
import { Registry } from '../../src/lib/metrics.ts';
import { createApp } from '../../src/apiserver/app.ts';
import { createAuthenticator } from '../../src/apiserver/auth/authenticator.ts';
import type { Transport } from '../../src/apiserver/auth/authenticator.ts';
import type { TokenLookup } from '../../src/apiserver/auth/tokens.ts';
import { WatchRegistry } from '../../src/apiserver/handlers/watch-stream.ts';
import { DEFAULT_LIMITS, RequestLimits } from '../../src/apiserver/limits.ts';
import { createApiMetrics } from '../../src/apiserver/metrics.ts';
import { resources } from '../../src/apiserver/registry/resources.ts';
import { DEFAULT_HISTORY } from '../../src/apiserver/store/history.ts';
import type { HistoryLimits } from '../../src/apiserver/store/history.ts';
import { openStore } from '../../src/apiserver/store/durable-store.ts';
import type { DurableStore } from '../../src/apiserver/store/durable-store.ts';
import { systemFiles } from '../../src/apiserver/store/files.ts';
import type { FileLayer } from '../../src/apiserver/store/files.ts';

/** Where the resources are. */
export const ROUTERS = '/apis/edge.example.com/v1/routers';
export const NODE_MAINTENANCES = '/apis/edge.example.com/v1/nodemaintenances';

/** An answer with its parsed body. */
export interface Answer {
  code: number;
  headers: Headers;
  text: string;
  object: KubeObject & Record<string, unknown>;
  status: Status;
}

/** What a request sends besides method and path. */
export interface Sent {
  body?: unknown;
  /** Sent as it is, instead of `body`. */
  raw?: string | Uint8Array<ArrayBuffer>;
  type?: string;
  headers?: Record<string, string>;
  transport?: Transport;
}

/** A running application. */
export interface Harness {
  store: DurableStore;
  send(method: string, path: string, sent?: Sent): Promise<Answer>;
  /** Listens on a free loopback port; closed with the harness. */
  listen(): Promise<{ port: number; watches: WatchRegistry }>;
  close(): Promise<void>;
}

/** Creates an application whose requests without credentials are admin's (plain HTTP on loopback). */
export async function createHarness(
  options: {
    tokens?: TokenLookup;
    node?: string;
    clock?: Clock;
    files?: FileLayer;
    history?: HistoryLimits;
  } = {},
): Promise<Harness> {
  const root = await mkdtemp(join(tmpdir(), 'edge-app-'));
  const clock = options.clock ?? systemClock;
  const store = await openStore(
    { dir: join(root, 'store'), journalBytes: 1 << 24, history: options.history ?? DEFAULT_HISTORY },
    { files: options.files ?? systemFiles, clock, log: silentLogger },
  );
  const watches = new WatchRegistry(100);
  const app = createApp({
    store,
    resources,
    node: options.node ?? 'node-1',
    clock,
    random: Math.random,
    log: silentLogger,
    metrics: createApiMetrics(new Registry(), () => store),
    watches,
    authenticate: createAuthenticator(options.tokens),
    audit: undefined,
    limits: new RequestLimits(DEFAULT_LIMITS),
    notServing: () => undefined,
  });
  const servers: HttpServer[] = [];
  return {
    store,
    async send(method, path, sent = {}) {
      const given = sent.raw ?? (sent.body === undefined ? undefined : JSON.stringify(sent.body));
      // as bytes, because a text would bring its own Content-Type
      const body = typeof given === 'string' ? new TextEncoder().encode(given) : given;
      const headers = new Headers(sent.headers);
      if (sent.type !== undefined) headers.set('content-type', sent.type);
      const init: RequestInit = { method, headers, ...(body === undefined ? {} : { body }) };
      const response = await app.request(path, init, { transport: sent.transport ?? 'http' });
      const text = await response.text();
      const parsed = (text.startsWith('{') ? JSON.parse(text) : {}) as Answer['object'];
      return {
        code: response.status,
        headers: response.headers,
        text,
        object: parsed,
        status: parsed as unknown as Status,
      };
    },
    async listen() {
      const server = await listenHttp({
        fetch: (request, env) => app.fetch(request, { ...(env as object), transport: 'http' }),
        port: 0,
      });
      servers.push(server);
      return { port: server.port, watches };
    },
    async close() {
      watches.endAll();
      for (const server of servers) await server.close(0);
      await store.close();
      await rm(root, { recursive: true, force: true });
    },
  };
}

/** A valid Router. */
export function router(
  name: string,
  extra: Partial<KubeObject> & { metadata?: object } = {},
): Record<string, unknown> {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    spec: { frps: { bindPort: 7000 } },
    ...extra,
    metadata: { name, ...extra.metadata },
  };
}
