/**
 * The same writes to `edge apiserver` and to a Kubernetes API server with our CRDs: answers, objects and owners
 * of fields must agree. The server is named by EDGE_TEST_KUBE_APISERVER, `https://TOKEN@HOST:PORT`; FUZZ_SEED repeats a run.
 */
import assert from 'node:assert/strict';
import { request } from 'node:https';
import { test } from 'node:test';
import type { ManagedFieldsEntry } from '../../src/api/meta.ts';
import { createHarness, ROUTERS } from '../support/apiserver-harness.ts';
import { useKubeServer } from '../support/kube-server.ts';
import { createRandom } from '../support/random.ts';

interface Reply {
  code: number;
  object: Record<string, unknown>;
}

interface Write {
  method: string;
  path: string;
  body?: unknown;
  type: string;
}

type Send = (write: Write) => Promise<Reply>;

const REFERENCE = process.env['EDGE_TEST_KUBE_APISERVER'] ?? '';
const APPLY = 'application/apply-patch+yaml';
const MERGE = 'application/merge-patch+json';
const JSON_PATCH = 'application/json-patch+json';
/** Writes of one run; each goes to both servers. */
const STEPS = Number(process.env['EDGE_TEST_STEPS'] ?? 300);

function reference(url: string): Send {
  const { hostname, port, username } = new URL(url);
  return (write) =>
    new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${username}`, 'content-type': write.type };
      const options = {
        hostname,
        port,
        method: write.method,
        path: write.path,
        headers,
        rejectUnauthorized: false,
      };
      const sent = request(options, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk));
        response.on('end', () =>
          resolve({ code: response.statusCode ?? 0, object: JSON.parse(text) as Record<string, unknown> }),
        );
      });
      sent.on('error', reject);
      sent.end(write.body === undefined ? undefined : JSON.stringify(write.body));
    });
}

/** What must agree of an answer: everything but identities, versions and times. */
function comparable({ code, object }: Reply): unknown {
  if (object['kind'] === 'Status') {
    const { reason, message, details } = object as {
      reason?: string;
      message?: string;
      details?: { causes?: unknown[] };
    };
    const byText = (a: unknown, b: unknown) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
    const isApply = String(message).startsWith('Apply failed');
    return { code, reason, ...(isApply ? { message, causes: details?.causes?.toSorted(byText) } : {}) };
  }
  const { metadata, ...rest } = object as { metadata: Record<string, unknown> };
  const { uid: _u, resourceVersion: _r, creationTimestamp: _c, managedFields, ...kept } = metadata;
  const owners = ((managedFields ?? []) as ManagedFieldsEntry[])
    .map(({ time: _time, ...entry }) => entry)
    .sort((a, b) =>
      JSON.stringify([a.operation, a.manager, a.subresource]) <
      JSON.stringify([b.operation, b.manager, b.subresource])
        ? -1
        : 1,
    );
  return { code, ...rest, metadata: kept, owners };
}

/** The reference turns a container that lost its last member to null, and then refuses its own null. */
function isNullQuirk({ code, object }: Reply): boolean {
  return code === 422 && /must be of type (?:object|array): "null"/u.test(String(object['message']));
}

/** The same with a list: it goes, and the same apply again brings it back empty. Here it is empty at once. */
function isEmptyListQuirk(mine: Reply, other: Reply): boolean {
  const emptyLists = ({ object }: Reply): number =>
    (JSON.stringify(object['spec'] ?? {}).match(/:\[\]/gu) ?? []).length;
  return mine.code === 200 && other.code === 200 && emptyLists(mine) > emptyLists(other);
}

/**
 * The reference loses a container of which an empty list alone is left, also where it was just applied: then owners have
 * fields in its answer that the object has not. Here it stays.
 */
function isLostContainerQuirk(mine: Reply, other: Reply): boolean {
  const isOwnedAndMissing = ({ object }: Reply): boolean => {
    const { managedFields = [] } = (object['metadata'] ?? {}) as { managedFields?: ManagedFieldsEntry[] };
    return managedFields.some(({ fieldsV1 }) => isMissing(fieldsV1 ?? {}, object));
  };
  return mine.code === 200 && other.code === 200 && isOwnedAndMissing(other) && !isOwnedAndMissing(mine);
}

/** Whether a value lacks a member that owned fields name. */
function isMissing(fields: object, value: unknown): boolean {
  return Object.entries(fields).some(([element, below]) => {
    if (!element.startsWith('f:')) return false;
    const name = element.slice(2);
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return true;
    return isMissing(below as object, (value as Record<string, unknown>)[name]);
  });
}

/** Makes random writes of one object. */
class Writer {
  readonly #random: () => number;
  readonly #path: string;
  readonly #name: string;

  constructor(random: () => number, name: string) {
    this.#random = random;
    this.#name = name;
    this.#path = `${ROUTERS}/${name}`;
  }

  pick<T>(...choices: readonly T[]): T {
    return choices[Math.floor(this.#random() * choices.length)] as T;
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }

  #some<T>(...all: readonly T[]): T[] {
    return all.filter(() => this.chance(0.5)).sort(() => this.#random() - 0.5);
  }

  /** Some of the fields of a Router, of every shape that ownership knows. */
  fields(isWhole: boolean): Record<string, unknown> {
    const optional = (name: string, make: () => unknown) => (this.chance(0.4) ? { [name]: make() } : {});
    const services = () =>
      this.#some('a', 'b', 'c', 'd').map((name) => ({
        name,
        port: 80,
        ...(this.chance(0.3) ? { protocol: 'UDP' } : {}),
        ...(this.chance(0.3) ? { namespace: this.pick('default', 'x') } : {}),
      }));
    const frps = {
      ...(isWhole || this.chance(0.6) ? { bindPort: this.pick(7000, 7001) } : {}),
      ...optional('dashboardPort', () => this.pick(7500, 7501)),
      ...optional('bindAddr', () => this.pick('0.0.0.0', '127.0.0.1')),
      ...optional('allowPorts', () => [{ single: this.pick(1, 2) }]),
      ...optional('auth', () => ({
        ...optional('method', () => 'token'),
        ...optional('additionalScopes', () => this.#some('HeartBeats', 'NewWorkConns')),
      })),
      ...optional('transport', () => ({ ...optional('tcpMux', () => this.chance(0.5)) })),
    };
    return {
      ...optional('advertisedServices', services),
      ...optional('loadBalancing', () => this.pick({}, { policy: 'random' })),
      frps,
    };
  }

  metadata(): Record<string, unknown> {
    const labels = () =>
      Object.fromEntries(this.#some('x', 'y', 'z').map((key) => [key, this.pick('1', '2')]));
    return {
      ...(this.chance(0.5) ? { labels: labels() } : {}),
      ...(this.chance(0.3) ? { annotations: labels() } : {}),
    };
  }

  status(): Record<string, unknown> {
    const condition = (type: string) => ({
      type,
      status: this.pick('True', 'False'),
      ...(this.chance(0.5) ? { reason: 'R' } : {}),
    });
    return {
      ...(this.chance(0.7)
        ? { conditions: [condition('Ready'), ...this.#some('Synced').map(condition)] }
        : {}),
      ...(this.chance(0.5) ? { version: this.pick('1', '2') } : {}),
      ...(this.chance(0.3) ? { observedGeneration: this.pick(1, 2) } : {}),
    };
  }

  #object(extra: Record<string, unknown>, metadata: Record<string, unknown> = {}): Record<string, unknown> {
    return {
      apiVersion: 'edge.example.com/v1',
      kind: 'Router',
      metadata: { name: this.#name, ...metadata },
      ...extra,
    };
  }

  next(): Write {
    const path = this.#path;
    const manager = this.pick('m1', 'm2', 'kubectl');
    const status = { status: this.status() };
    switch (this.pick(0, 0, 0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8)) {
      case 0: {
        const force = this.chance(0.5) ? '&force=true' : '';
        const body = this.#object({ spec: this.fields(this.chance(0.6)) }, this.metadata());
        return { method: 'PATCH', path: `${path}?fieldManager=${manager}${force}`, body, type: APPLY };
      }
      case 1: {
        const force = this.chance(0.5) ? '&force=true' : '';
        return {
          method: 'PATCH',
          path: `${path}/status?fieldManager=${manager}${force}`,
          body: this.#object(status),
          type: APPLY,
        };
      }
      case 2:
        return {
          method: 'PATCH',
          path: `${path}?fieldManager=${manager}`,
          body: { metadata: this.metadata(), spec: this.fields(false) },
          type: MERGE,
        };
      case 3:
        return {
          method: 'PATCH',
          path: `${path}/status?fieldManager=${this.pick('router', 'm1')}`,
          body: status,
          type: MERGE,
        };
      case 4:
        return {
          method: 'PATCH',
          path: `${path}?fieldManager=jp`,
          body: [{ op: 'replace', path: '/spec/frps/bindPort', value: this.pick(7000, 7001, 7002) }],
          type: JSON_PATCH,
        };
      case 5: {
        const removed = this.pick<unknown>(
          { metadata: { labels: null } },
          { spec: { advertisedServices: null } },
          { spec: { loadBalancing: null, frps: { auth: null } } },
        );
        return { method: 'PATCH', path: `${path}?fieldManager=remover`, body: removed, type: MERGE };
      }
      case 6: {
        const managedFields = this.pick<unknown>([], [{}], [{ manager: 'x', operation: 'Nonsense' }]);
        return {
          method: 'PATCH',
          path: `${path}?fieldManager=owner`,
          body: { metadata: { managedFields } },
          type: MERGE,
        };
      }
      case 7: {
        const body = this.#object({ spec: this.fields(true) }, this.metadata());
        return {
          method: 'POST',
          path: `${ROUTERS}?fieldManager=${this.pick('creator', 'm1')}`,
          body,
          type: 'application/json',
        };
      }
      default: {
        const last = this.#object({ spec: this.fields(true) }, this.metadata());
        const annotations = {
          'kubectl.kubernetes.io/last-applied-configuration': `${JSON.stringify(last)}\n`,
        };
        return {
          method: 'PATCH',
          path: `${path}?fieldManager=kubectl-client-side-apply`,
          body: { metadata: { annotations }, spec: last['spec'] },
          type: MERGE,
        };
      }
    }
  }
}

test('writes leave the same objects and owners as on a Kubernetes API server', async (t) => {
  if ((await useKubeServer(t)) === undefined) return;
  const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000);
  const random = createRandom(seed);
  const api = await createHarness();
  t.after(() => api.close());
  const theirs = reference(REFERENCE);
  const ours: Send = async ({ method, path, body, type }) => {
    const { code, object } = await api.send(method, path, { body, type });
    return { code, object };
  };
  const name = `reference-${process.pid}`;
  const writer = new Writer(random, name);
  const remove: Write = { method: 'DELETE', path: `${ROUTERS}/${name}`, type: 'application/json' };
  t.after(() => theirs(remove));
  const versions = { ours: '', theirs: '' };
  const log: string[] = [];
  for (let step = 0; step < STEPS; step++) {
    const write = step > 0 && writer.chance(0.03) ? remove : writer.next();
    log.push(JSON.stringify(write));
    const [mine, other] = [await ours(write), await theirs(write)];
    const context = `seed ${seed}, step ${step}:\n${log.slice(-4).join('\n')}`;
    if (isNullQuirk(other) || isEmptyListQuirk(mine, other) || isLostContainerQuirk(mine, other)) {
      await Promise.all([ours(remove), theirs(remove)]);
      continue;
    }
    const answers = [comparable(mine), comparable(other)];
    const shown = answers.map((answer) => JSON.stringify(answer)).join('\n');
    assert.deepEqual(answers[0], answers[1], `${context}\nours and theirs:\n${shown}`);
    if (mine.object['kind'] !== 'Router') continue;
    const version = (reply: Reply) =>
      (reply.object['metadata'] as { resourceVersion: string }).resourceVersion;
    // the reference writes more often: an object it applied is stored anew by the next update, even an empty one
    if (version(other) === versions.theirs) {
      assert.equal(version(mine), versions.ours, `wrote, and the reference did not, ${context}`);
    }
    versions.ours = version(mine);
    versions.theirs = version(other);
  }
});
