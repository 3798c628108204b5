/** An API server for unit tests: objects in a map, watches, and faults on demand. It checks nothing. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { KubeObject, WatchEvent } from '../../src/api/meta.ts';
import { freePort } from './ports.ts';
import type { TestLike } from './processes.ts';

interface Watcher {
  response: ServerResponse;
  kind: string;
  name: string | undefined;
}

/** A fake API server with routers and nodemaintenances, one map of names for both. */
export class FakeApiServer {
  readonly objects = new Map<string, KubeObject>();
  /** `METHOD path` of each request but /readyz, oldest first. */
  readonly requests: string[] = [];
  /** Answers every request with this status and no change. */
  failWith: number | undefined;
  /** As failWith, for requests that would change something. */
  failWritesWith: number | undefined;
  /** Says which objects are answered with 422 when they are written. */
  refuses: (object: KubeObject) => boolean = () => false;
  /** Takes requests and never answers. */
  isHanging = false;
  /** The token that must be presented, when set. */
  token: string | undefined;
  /** Sends every object and event whatever the selector says. */
  isLying = false;
  /** Watches that ask for an older version than this get 410. */
  compactedBelow = 0;
  port = 0;
  #version = 100;
  readonly #history: { version: number; event: WatchEvent<KubeObject> }[] = [];
  readonly #watchers = new Set<Watcher>();
  readonly #sockets = new Set<Socket>();
  #server = createServer();

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Open watches of routers. */
  get watchers(): number {
    return [...this.#watchers].filter(({ kind }) => kind === 'Router').length;
  }

  /** Open connections. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Listens on the port of the last time, or a free one that stays free; stopped after the test. */
  async start(t: TestLike): Promise<void> {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    if (this.port === 0) this.port = await freePort();
    await once(this.#server.listen(this.port, '127.0.0.1'), 'listening');
    t.after(() => this.stop());
  }

  /** Stops listening and cuts every connection, as a killed server does. */
  async stop(): Promise<void> {
    const closed = new Promise((resolve) => {
      this.#server.close(resolve);
    });
    this.cut();
    await closed;
  }

  /** Cuts every connection; new ones are taken. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Ends the watches as a server does that reached their time limit. */
  endWatches(): void {
    for (const { response } of this.#watchers) response.end();
    this.#watchers.clear();
  }

  /** Stores an object and tells the watchers. */
  put(object: KubeObject): KubeObject {
    const name = object.metadata.name ?? '';
    const previous = this.objects.get(name);
    const stored: KubeObject = {
      ...structuredClone(object),
      metadata: {
        ...structuredClone(object.metadata),
        uid: previous?.metadata.uid ?? `uid-${this.#version}`,
        resourceVersion: String(++this.#version),
      },
    };
    this.objects.set(name, stored);
    this.#publish({ type: previous === undefined ? 'ADDED' : 'MODIFIED', object: stored });
    return stored;
  }

  remove(name: string): void {
    const previous = this.objects.get(name);
    if (previous === undefined) return;
    this.objects.delete(name);
    const metadata = { ...previous.metadata, resourceVersion: String(++this.#version) };
    this.#publish({ type: 'DELETED', object: { ...previous, metadata } });
  }

  /** Sends raw bytes down every watch. */
  inject(text: string): void {
    for (const { response } of this.#watchers) response.write(text);
  }

  #publish(event: WatchEvent<KubeObject>): void {
    this.#history.push({ version: this.#version, event });
    for (const watcher of this.#watchers) this.#send(watcher, event);
  }

  #send(watcher: Watcher, event: WatchEvent<KubeObject>): void {
    if (watcher.kind !== event.object.kind) return;
    if (this.isLying || watcher.name === undefined || watcher.name === event.object.metadata.name) {
      watcher.response.write(`${JSON.stringify(event)}\n`);
    }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://api');
    if (this.isHanging) return;
    if (url.pathname !== '/readyz') this.requests.push(`${request.method ?? ''} ${url.pathname}`);
    let text = '';
    for await (const chunk of request) text += String(chunk);
    const reply = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    const fail = (code: number, reason: string): void =>
      reply(code, {
        kind: 'Status',
        apiVersion: 'v1',
        status: 'Failure',
        reason,
        message: `fake: ${reason}`,
        code,
      });
    if (url.pathname === '/readyz') {
      response.end('ok');
      return;
    }
    const failure = this.failWith ?? (request.method === 'GET' ? undefined : this.failWritesWith);
    if (failure !== undefined) {
      fail(failure, 'InternalError');
      return;
    }
    if (this.token !== undefined && request.headers.authorization !== `Bearer ${this.token}`) {
      fail(401, 'Unauthorized');
      return;
    }
    const match =
      /^\/apis\/edge\.example\.com\/v1\/(routers|nodemaintenances)(?:\/([^/]+))?(?:\/(status))?$/u.exec(
        url.pathname,
      );
    if (match === null) {
      fail(404, 'NotFound');
      return;
    }
    this.#resource(
      request.method ?? 'GET',
      match[1] === 'routers' ? 'Router' : 'NodeMaintenance',
      match[2],
      match[3],
      url.searchParams,
      text,
      response,
      reply,
      fail,
    );
  }

  #resource(
    method: string,
    kind: string,
    name: string | undefined,
    subresource: string | undefined,
    query: URLSearchParams,
    text: string,
    response: ServerResponse,
    reply: (status: number, body: unknown) => void,
    fail: (code: number, reason: string) => void,
  ): void {
    const wanted = /^metadata\.name=(.*)$/u.exec(query.get('fieldSelector') ?? '')?.[1];
    if (method === 'GET' && name === undefined && query.get('watch') === 'true') {
      this.#watch(Number(query.get('resourceVersion') ?? 0), kind, wanted, response, fail);
      return;
    }
    if (method === 'GET' && name === undefined) {
      const items = [...this.objects.values()].filter(
        (item) =>
          item.kind === kind && (this.isLying || wanted === undefined || item.metadata.name === wanted),
      );
      reply(200, {
        kind: `${kind}List`,
        apiVersion: 'edge.example.com/v1',
        metadata: { resourceVersion: String(this.#version) },
        items,
      });
      return;
    }
    const body = text === '' ? undefined : (JSON.parse(text) as KubeObject);
    const key = name ?? body?.metadata.name ?? '';
    const current = this.objects.get(key);
    if (body !== undefined && method !== 'DELETE' && this.refuses(body)) {
      fail(422, 'Invalid');
      return;
    }
    if (method === 'POST' && body !== undefined) {
      if (current !== undefined) fail(409, 'AlreadyExists');
      else {
        const { status: _status, ...rest } = body;
        reply(201, this.put(rest));
      }
      return;
    }
    if (current === undefined) {
      fail(404, 'NotFound');
      return;
    }
    if (method === 'GET') reply(200, current);
    else if (method === 'DELETE') {
      this.remove(key);
      reply(200, {
        kind: 'Status',
        apiVersion: 'v1',
        status: 'Success',
        details: { uid: current.metadata.uid },
      });
    } else if (method === 'PUT' && body !== undefined) {
      if (body.metadata.resourceVersion !== current.metadata.resourceVersion) fail(409, 'Conflict');
      else
        reply(
          200,
          this.put(
            subresource === 'status'
              ? { ...current, status: body.status }
              : { ...body, status: current.status },
          ),
        );
    } else fail(405, 'MethodNotAllowed');
  }

  #watch(
    from: number,
    kind: string,
    name: string | undefined,
    response: ServerResponse,
    fail: (code: number, reason: string) => void,
  ): void {
    if (from < this.compactedBelow) {
      fail(410, 'Expired');
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
    const watcher = { response, kind, name };
    for (const { version, event } of this.#history) if (version > from) this.#send(watcher, event);
    this.#watchers.add(watcher);
    response.on('close', () => this.#watchers.delete(watcher));
  }
}
