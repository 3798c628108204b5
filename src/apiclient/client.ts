/** Typed calls to one API server; re-reads credentials when their files change or stop being accepted. */
import type { IncomingHttpHeaders } from 'node:http';
import type { KubeList, KubeObject, ResourceRef, WatchEvent } from '../api/meta.ts';
import { EdgeError } from '../lib/errors.ts';
import { commit, version } from '../lib/build-info.ts';
import { createConnection } from './connection.ts';
import { apiError, isTlsFailure } from './errors.ts';
import type { ClusterAccess } from './kubeconfig.ts';
import type { Gate } from './gate.ts';
import type { Pacer } from './pacer.ts';
import { readBody } from './transport.ts';
import type { TransportAnswer, TransportRequest } from './transport.ts';
import { protocolError, readEvents } from './watch.ts';

/** Limits and habits of a client. */
export interface ApiClientOptions {
  /** Time for an answer to start and again for it to end, milliseconds; 30 s when absent. */
  requestTimeoutMs?: number;
  /** The largest answer read; 64 MiB when absent. */
  maxResponseBytes?: number;
  /** The longest line of a watch; 8 MiB when absent. */
  maxLineBytes?: number;
  /** The program part in User-Agent, `edge-PART/VERSION`; the server takes the field manager from it. */
  component?: string;
  /** Gets the text of each Warning header. */
  onWarning?: (text: string) => void;
  /** Slows down reading from a server that is not trusted to be brief. */
  pacer?: Pacer;
  /** Shared by clients that must not all begin at once. */
  gate?: Gate;
}

/** Which objects to list or watch. */
export interface ListQuery {
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  resourceVersion?: string | undefined;
  limit?: number;
  continue?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** A watch: from when, and until when. */
export interface WatchQuery extends ListQuery {
  /** Ends the watch; the iteration then ends without an error. */
  signal: AbortSignal;
  allowWatchBookmarks?: boolean;
  timeoutSeconds?: number;
  /** Accept header; plain JSON when absent. */
  accept?: string;
  /** Called when the server has accepted the watch, before its first event. */
  onOpen?: () => void;
}

/** What every write may say. */
export interface WriteOptions {
  fieldManager?: string | undefined;
  fieldValidation?: 'Strict' | 'Warn' | 'Ignore' | undefined;
  dryRun?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

/** The patch formats of the Kubernetes API: RFC 7386, RFC 6902, server-side apply. */
export type PatchType = 'merge' | 'json' | 'apply';

/** How to patch. */
export interface PatchOptions extends WriteOptions {
  type: PatchType;
  subresource?: string | undefined;
  /** Apply only: take fields over from other managers. */
  force?: boolean | undefined;
}

/** How to delete. */
export interface DeleteOptions extends Pick<WriteOptions, 'dryRun' | 'signal'> {
  propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
  preconditions?: { uid?: string; resourceVersion?: string };
  gracePeriodSeconds?: number;
}

/** A request outside the typed calls. */
export interface RawOptions {
  query?: Readonly<Record<string, string | undefined>>;
  headers?: Readonly<Record<string, string>>;
  body?: string;
  signal?: AbortSignal | undefined;
  timeoutMs?: number;
  /** Uses a new connection instead of a pooled one. */
  isFresh?: boolean;
}

/** A whole answer, whatever its status. */
export interface RawAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

/** Calls to one API server. Rejects with ApiError for an error answer, EDGE_ERR_API_* when there was none. */
export interface ApiClient {
  /** The address in use; empty until the first call when the access is loaded on demand. */
  readonly server: string;
  get<T = KubeObject>(resource: ResourceRef, name: string, options?: { signal?: AbortSignal }): Promise<T>;
  list<T = KubeObject>(resource: ResourceRef, query?: ListQuery): Promise<KubeList<T>>;
  create<T extends KubeObject>(resource: ResourceRef, object: T, options?: WriteOptions): Promise<T>;
  update<T extends KubeObject>(resource: ResourceRef, object: T, options?: WriteOptions): Promise<T>;
  updateStatus<T extends KubeObject>(resource: ResourceRef, object: T, options?: WriteOptions): Promise<T>;
  patch<T = KubeObject>(
    resource: ResourceRef,
    name: string,
    body: unknown,
    options: PatchOptions,
  ): Promise<T>;
  delete(resource: ResourceRef, name: string, options?: DeleteOptions): Promise<unknown>;
  /** Ends without an error when the signal aborts, also before the server has answered. */
  watch<T = KubeObject>(resource: ResourceRef, query: WatchQuery): AsyncIterable<WatchEvent<T>>;
  /** Any request; resolves for every status. */
  request(method: string, path: string, options?: RawOptions): Promise<RawAnswer>;
  /** Resolves when the server answers at all; `isFresh` proves the path rather than a pooled connection. */
  ping(options?: { signal?: AbortSignal; timeoutMs?: number; isFresh?: boolean }): Promise<void>;
  /** Drops pooled connections, for when the path they ran over turned out dead. Calls under way go on. */
  dropConnections(): void;
  close(): void;
}

const PATCH_TYPES: Readonly<Record<PatchType, string>> = {
  merge: 'application/merge-patch+json',
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
};

/** An answer, and who gave it. */
interface Sent {
  answer: TransportAnswer;
  server: string;
}

/** What a request costs its client beside the bytes of the answer, in bytes that could be read meanwhile; with TLS most of it. */
const REQUEST_COST_BYTES = 32_768;
const CONNECT_COST_BYTES = 65_536;

/** The URL path of a resource, an object or a subresource. */
export function resourcePath(resource: ResourceRef, name?: string, subresource?: string): string {
  const base =
    resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const parts = [resource.plural, name, subresource].filter((part) => part !== undefined);
  return `${base}/${parts.map(encodeURIComponent).join('/')}`;
}

/** Percent-encodes the values that are set, with their leading question mark. */
export function queryString(query: Readonly<Record<string, string | number | boolean | undefined>>): string {
  const pairs = Object.entries(query).filter(([, value]) => value !== undefined && value !== '');
  return pairs.length === 0
    ? ''
    : `?${new URLSearchParams(pairs.map(([key, value]): [string, string] => [key, String(value)])).toString()}`;
}

/** Creates a client. An access with a `source`, or given by a function, is read again when its files change. */
export function createApiClient(
  access: ClusterAccess | (() => Promise<ClusterAccess>),
  options: ApiClientOptions = {},
): ApiClient {
  const timeoutMs = options.requestTimeoutMs ?? 30_000;
  const maxBytes = options.maxResponseBytes ?? 64 * 1024 * 1024;
  const userAgent = `edge${options.component === undefined ? '' : `-${options.component}`}/${version} (${commit})`;
  const connection = createConnection(access);

  const send = async (request: TransportRequest): Promise<Sent> => {
    const leave = await options.gate?.enter(request.signal);
    try {
      return await sendNow(request);
    } finally {
      leave?.();
    }
  };

  const sendNow = async (request: TransportRequest): Promise<Sent> => {
    const full = {
      ...request,
      headers: { accept: 'application/json', 'user-agent': userAgent, ...request.headers },
    };
    let transport = await connection.current();
    let answer = await transport.send(full).catch((err: unknown) => {
      if (isTlsFailure(err)) return err as EdgeError;
      throw err;
    });
    if (answer instanceof EdgeError || answer.status === 401) {
      // Rotated credentials: once more if the files have newer ones.
      const renewed = await connection.renew(transport);
      if (renewed === transport && answer instanceof EdgeError) throw answer;
      if (renewed !== transport) {
        if (!(answer instanceof EdgeError)) answer.body.destroy();
        transport = renewed;
        answer = await transport.send(full);
      }
    }
    const settled = answer as TransportAnswer;
    if (options.onWarning !== undefined)
      for (const text of warnings(settled.headers)) options.onWarning(text);
    return { answer: settled, server: transport.access.server };
  };

  const request = async (
    method: string,
    path: string,
    raw: RawOptions = {},
  ): Promise<RawAnswer & { server: string }> => {
    const limitMs = raw.timeoutMs ?? timeoutMs;
    const { answer, server } = await send({
      method,
      path: path + queryString(raw.query ?? {}),
      headers: raw.headers ?? {},
      body: raw.body,
      signal: raw.signal,
      timeoutMs: limitMs,
      isFresh: raw.isFresh ?? false,
    });
    const text = await readBody(server, answer.body, { maxBytes, timeoutMs: limitMs });
    await options.pacer?.take(text.length + (raw.isFresh === true ? CONNECT_COST_BYTES : REQUEST_COST_BYTES));
    return { status: answer.status, headers: answer.headers, text, server };
  };

  const json = async <T>(method: string, path: string, raw: RawOptions): Promise<T> => {
    const { status, text, server } = await request(method, path, raw);
    if (status >= 400) throw apiError(status, text, server);
    try {
      const value = JSON.parse(text) as T;
      if (typeof value === 'object' && value !== null) return value;
    } catch (err) {
      throw protocolError(server, err);
    }
    throw protocolError(server);
  };

  const write = <T>(
    method: string,
    path: string,
    body: unknown,
    contentType: string,
    query: WriteOptions & { force?: boolean | undefined },
  ) =>
    json<T>(method, path, {
      query: {
        dryRun: query.dryRun === true ? 'All' : undefined,
        fieldManager: query.fieldManager,
        fieldValidation: query.fieldValidation,
        force: query.force === undefined ? undefined : String(query.force),
      },
      headers: { 'content-type': contentType },
      body: JSON.stringify(body),
      signal: query.signal,
    });

  const put = <T extends KubeObject>(
    resource: ResourceRef,
    object: T,
    subresource: string | undefined,
    query: WriteOptions,
  ) =>
    write<T>(
      'PUT',
      resourcePath(resource, object.metadata.name ?? '', subresource),
      object,
      'application/json',
      query,
    );

  return {
    get server() {
      return connection.server();
    },
    get: (resource, name, query = {}) => json('GET', resourcePath(resource, name), query),
    list: async <T>(resource: ResourceRef, query: ListQuery = {}) => {
      const { signal, limit, ...rest } = query;
      const path = resourcePath(resource);
      const list = await json<KubeList<T>>('GET', path, {
        query: { ...rest, limit: limit === undefined ? undefined : String(limit) },
        signal,
      });
      if (!Array.isArray(list.items)) throw protocolError(connection.server());
      for (const item of list.items as unknown as Partial<KubeObject>[]) {
        // servers may leave them out of list items
        item.apiVersion ??= list.apiVersion;
        item.kind ??= resource.kind;
      }
      return list;
    },
    create: (resource, object, query = {}) =>
      write('POST', resourcePath(resource), object, 'application/json', query),
    update: (resource, object, query = {}) => put(resource, object, undefined, query),
    updateStatus: (resource, object, query = {}) => put(resource, object, 'status', query),
    patch: (resource, name, body, { type, subresource, ...query }) =>
      write('PATCH', resourcePath(resource, name, subresource), body, PATCH_TYPES[type], query),
    delete(resource, name, { dryRun, signal, ...body } = {}) {
      return json('DELETE', resourcePath(resource, name), {
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          propagationPolicy: 'Background',
          ...body,
          ...(dryRun === true ? { dryRun: ['All'] } : {}),
        }),
        signal,
      });
    },
    watch: <T>(resource: ResourceRef, query: WatchQuery) => watch<T>(resource, query),
    request,
    async ping(query = {}) {
      await request('GET', '/readyz', { headers: { accept: '*/*' }, ...query });
    },
    dropConnections: () => connection.drop(),
    close: () => connection.close(),
  };

  async function* watch<T>(resource: ResourceRef, query: WatchQuery): AsyncGenerator<WatchEvent<T>> {
    const { signal, accept, onOpen, ...rest } = query;
    const path = resourcePath(resource) + queryString({ ...rest, watch: true });
    const headers: Record<string, string> = accept === undefined ? {} : { accept };
    try {
      const { answer, server } = await send({
        method: 'GET',
        path,
        headers,
        signal,
        timeoutMs,
        isFresh: true,
      });
      await options.pacer?.take(CONNECT_COST_BYTES);
      if (answer.status >= 400)
        throw apiError(answer.status, await readBody(server, answer.body, { maxBytes, timeoutMs }), server);
      onOpen?.();
      yield* readEvents<T>(server, answer.body, options.maxLineBytes ?? 8 * 1024 * 1024, options.pacer);
    } catch (err) {
      if (!signal.aborted) throw err;
    }
  }
}

/** The texts of Warning headers: `299 - "text"` (RFC 9111 5.5). */
function warnings(headers: IncomingHttpHeaders): string[] {
  const value = headers['warning'];
  const line = Array.isArray(value) ? value.join(', ') : (value ?? '');
  return [...line.matchAll(/\d{3} \S+ "((?:[^"\\]|\\.)*)"/gu)].map(([, text = '']) =>
    text.replaceAll(/\\(.)/gu, '$1'),
  );
}
