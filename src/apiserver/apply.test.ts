/** Server-side apply and what else a client may expect of a Kubernetes API server, through the application. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createHarness, NODE_MAINTENANCES, router, ROUTERS } from '../../test/support/apiserver-harness.ts';
import type { Answer, Harness } from '../../test/support/apiserver-harness.ts';
import type { ManagedFieldsEntry } from '../api/meta.ts';

const APPLY = 'application/apply-patch+yaml';
const MERGE = 'application/merge-patch+json';
let api: Harness;
before(async () => {
  api = await createHarness();
});
after(() => api.close());

function apply(name: string, manager: string, body: unknown, query = ''): Promise<Answer> {
  const path = `${ROUTERS}/${name}?fieldManager=${manager}${query}`;
  return api.send(
    'PATCH',
    path,
    typeof body === 'string' ? { raw: body, type: APPLY } : { body, type: APPLY },
  );
}

const ownersOf = ({ object }: Answer): string[] =>
  (object.metadata.managedFields ?? []).map(
    (entry: ManagedFieldsEntry) => `${entry.manager}/${entry.operation}${entry.subresource ? '/status' : ''}`,
  );

test('apply creates, repeats without a write, conflicts, and can be forced', async () => {
  const created = await apply('a-1', 'm1', router('a-1', { metadata: { labels: { x: '1' } } }));
  assert.equal(created.code, 201);
  assert.deepEqual(created.object.metadata.managedFields?.[0]?.fieldsV1, {
    'f:metadata': { 'f:labels': { 'f:x': {} } },
    'f:spec': { 'f:frps': { 'f:bindPort': {} } },
  });
  const again = await apply('a-1', 'm1', router('a-1', { metadata: { labels: { x: '1' } } }));
  assert.equal(again.code, 200);
  assert.equal(again.object.metadata.resourceVersion, created.object.metadata.resourceVersion);
  const yaml = 'apiVersion: edge.example.com/v1\nkind: Router\nspec:\n  frps:\n    bindPort: 7001\n';
  const refused = await apply('a-1', 'm2', yaml);
  assert.equal(refused.code, 409);
  assert.equal(
    refused.status.message,
    'Apply failed with 1 conflict: conflict with "m1": .spec.frps.bindPort',
  );
  const forced = await apply('a-1', 'm2', yaml, '&force=true');
  assert.equal(forced.code, 200);
  assert.deepEqual(ownersOf(forced), ['m1/Apply', 'm2/Apply']);
  const dropped = await apply('a-1', 'm1', { apiVersion: 'edge.example.com/v1', kind: 'Router' });
  assert.equal(dropped.object.metadata.labels, undefined);
  assert.deepEqual(ownersOf(dropped), ['m2/Apply']);
});

test('apply names what is wrong with it', async () => {
  const wrong: [string, unknown, string, number, RegExp][] = [
    ['', router('w-1'), 'm', 201, /./u],
    ['', router('other'), 'm', 400, /does not match the name on the URL/u],
    ['', router('w-1'), '', 422, /fieldManager: Required value: is required for apply patch/u],
    [
      '',
      router('w-1', { spec: { frps: { zz: 1 } } }),
      'm',
      400,
      /\.spec\.frps\.zz: field not declared in schema/u,
    ],
    [
      '',
      router('w-1', { spec: { frps: { bindPort: 0 } } }),
      'm',
      422,
      /spec\.frps\.bindPort: Invalid value: 0/u,
    ],
    [
      '',
      router('w-1', { metadata: { managedFields: [{ manager: 'x' }] } }),
      'm',
      400,
      /metadata\.managedFields must be nil/u,
    ],
    ['', router('w-1', { metadata: { uid: 'other' } }), 'm', 422, /metadata\.uid: .*field is immutable/u],
    ['', router('w-1', { metadata: { resourceVersion: '1' } }), 'm', 409, /the object has been modified/u],
    [
      '',
      { ...router('w-1'), kind: 'NodeMaintenance' },
      'm',
      400,
      /invalid object type: .*Kind=NodeMaintenance/u,
    ],
    ['', 'a: [', 'm', 400, /error converting YAML to JSON/u],
    [
      '&fieldValidation=Strict',
      '{"apiVersion":"edge.example.com/v1","kind":"Router","spec":{},"spec":{}}',
      'm',
      400,
      /duplicate field \\"spec/u,
    ],
  ];
  for (const [query, body, manager, code, message] of wrong) {
    const answer = await apply('w-1', manager, body, query);
    assert.equal(answer.code, code, answer.text);
    assert.match(answer.text, message);
  }
  const absent = await apply('w-2', 'm', router('w-2', { metadata: { uid: 'u' } }));
  assert.equal(absent.code, 409);
  assert.equal((await apply('w-2/status', 'm', router('w-2'))).code, 404);
  const force = await api.send('PATCH', `${ROUTERS}/w-1?force=true`, { body: {}, type: MERGE });
  assert.match(force.text, /force: Forbidden: may not be specified for non-apply patch/u);
  assert.equal((await apply('w-3', 'm', router('w-3'), '&dryRun=All')).code, 201);
  assert.equal((await api.send('GET', `${ROUTERS}/w-3`)).code, 404);
});

test('the status endpoint owns status alone, and main writes never do', async () => {
  await apply('s-1', 'm', router('s-1', { status: { version: '9' } }));
  const status = { ...router('s-1', { metadata: { labels: { x: '1' } } }), status: { version: '1' } };
  const applied = await api.send('PATCH', `${ROUTERS}/s-1/status?fieldManager=r`, {
    body: status,
    type: APPLY,
  });
  assert.equal(applied.object.metadata.labels, undefined);
  assert.deepEqual(ownersOf(applied), ['m/Apply', 'r/Apply/status']);
  const other = { body: { ...status, status: { version: '2' } }, type: APPLY };
  const conflict = await api.send('PATCH', `${ROUTERS}/s-1/status?fieldManager=q`, other);
  assert.match(
    conflict.status.message ?? '',
    /conflict with "r" with subresource "status": \.status\.version$/u,
  );
});

test('kubectl takes over from client-side apply what nobody changed since', async () => {
  const manifest = router('k-1');
  const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': `${JSON.stringify(manifest)}\n` };
  const body = router('k-1', { metadata: { annotations } });
  await api.send('POST', `${ROUTERS}?fieldManager=kubectl-client-side-apply`, { body });
  const changed = router('k-1', { spec: { frps: { bindPort: 7001 } } });
  assert.equal((await apply('k-1', 'other', changed)).code, 409, 'other names opt out');
  const moved = await apply('k-1', 'kubectl', changed);
  assert.equal(moved.code, 200, moved.text);
  const written = moved.object.metadata.annotations?.['kubectl.kubernetes.io/last-applied-configuration'];
  assert.deepEqual(JSON.parse(written ?? ''), changed);
  assert.ok(written?.endsWith('}\n'));
  await api.send('PATCH', `${ROUTERS}/k-1?fieldManager=kubectl-patch`, {
    body: { spec: { frps: { bindPort: 7002 } } },
    type: MERGE,
  });
  const late = await apply('k-1', 'kubectl', changed);
  assert.match(
    late.status.message ?? '',
    /conflict with "kubectl-patch" using edge\.example\.com\/v1: \.spec/u,
  );
});

test('clients may replace managedFields or start anew, but not through status', async () => {
  const { object } = await api.send('POST', `${ROUTERS}?fieldManager=c`, { body: router('r-1') });
  const renamed = object.metadata.managedFields?.map((entry) => ({ ...entry, manager: 'd' }));
  const patch = (managedFields: unknown, sub = '') =>
    api.send('PATCH', `${ROUTERS}/r-1${sub}`, { body: { metadata: { managedFields } }, type: MERGE });
  assert.deepEqual(ownersOf(await patch([{}], '/status')), ['c/Update']);
  assert.deepEqual(ownersOf(await patch(renamed)), ['d/Update']);
  assert.deepEqual(ownersOf(await patch([{ operation: 'Nonsense' }])), ['d/Update']);
  assert.deepEqual(ownersOf(await patch([{}])), []);
  const applied = await apply('r-1', 'm', router('r-1'));
  assert.deepEqual(ownersOf(applied), ['m/Apply', 'before-first-apply/Update']);
  await patch([{}]);
  const status = { ...router('r-1'), status: { version: '1' } };
  const first = await apply('r-1/status', 'm', status);
  assert.deepEqual(ownersOf(first), ['m/Apply/status'], 'what status does not write is not counted there');
});

test('YAML bodies read yes and no as booleans, as Kubernetes does', async () => {
  const yaml =
    'apiVersion: edge.example.com/v1\nkind: Router\nmetadata: {name: y-1}\nspec:\n  frps: {bindPort: 1, transport: {tcpMux: no}}\n';
  const { code, object } = await api.send('POST', ROUTERS, { raw: yaml, type: 'application/yaml' });
  assert.equal(code, 201);
  const { frps } = object.spec as { frps: { transport: { tcpMux: unknown } } };
  assert.equal(frps.transport.tcpMux, false);
  const text = yaml.replace('y-1', 'y-2').replace('tcpMux: no', 'tcpMux: "no"');
  assert.equal((await api.send('POST', ROUTERS, { raw: text, type: 'application/yaml' })).code, 422);
});

test('large answers are compressed for clients that can read it, small ones never', async () => {
  const body = router('big', { metadata: { annotations: { a: 'x'.repeat(200_000) } } });
  await api.send('POST', ROUTERS, { body });
  const { port } = await api.listen();
  const get = (path: string, encoding: string) =>
    fetch(`http://127.0.0.1:${port}${path}`, { headers: { 'accept-encoding': encoding } });
  const large = await get(`${ROUTERS}/big`, 'gzip');
  assert.equal(large.headers.get('content-encoding'), 'gzip');
  assert.ok(Number(large.headers.get('content-length')) < 20_000);
  assert.equal(((await large.json()) as { metadata: { name: string } }).metadata.name, 'big');
  const indented = await get(`${ROUTERS}/big?pretty=true`, 'gzip');
  assert.equal(indented.headers.get('content-encoding'), 'gzip', 'for people, too');
  assert.match(await indented.text(), /^\{\n {2}"/u);
  for (const [path, encoding] of [
    [`${ROUTERS}/big`, 'identity'],
    [`${ROUTERS}/big`, 'gzip;q=0'],
    ['/version', 'gzip'],
  ] as const) {
    const plain = await get(path, encoding);
    assert.equal(plain.headers.get('content-encoding'), null, `${path} ${encoding}`);
    await plain.text();
  }
});

test('OpenAPI v2 is there as JSON, with every kind and its references', async () => {
  const { text } = await api.send('GET', '/openapi/v2', { headers: { accept: 'application/json' } });
  const swagger = JSON.parse(text) as {
    swagger: string;
    paths: Record<string, unknown>;
    definitions: Record<string, unknown>;
  };
  assert.equal(swagger.swagger, '2.0');
  assert.ok(Object.hasOwn(swagger.paths, `${ROUTERS}/{name}`));
  for (const [, name] of text.matchAll(/"\$ref":"#\/definitions\/([^"]+)"/gu))
    assert.ok(Object.hasOwn(swagger.definitions, name ?? ''), name);
  assert.equal(text.includes('#/components/'), false);
});

test('watches with a field selector see objects enter and leave, and the old watch paths work', async () => {
  const { port, watches } = await api.listen();
  const maintenance = (name: string, nodeName: string) => ({
    apiVersion: 'edge.example.com/v1',
    kind: 'NodeMaintenance',
    metadata: { name },
    spec: { nodeName },
  });
  await api.send('POST', NODE_MAINTENANCES, { body: maintenance('f-1', 'here') });
  const query = 'fieldSelector=spec.nodeName%3Dhere';
  const old = NODE_MAINTENANCES.replace('/v1/', '/v1/watch/');
  const [selected, named] = [`${NODE_MAINTENANCES}?watch=true&${query}`, `${old}/f-1`].map((path) =>
    fetch(`http://127.0.0.1:${port}${path}`),
  );
  const [watching, byName] = await Promise.all([selected, named]);
  const move = (name: string, nodeName: string) =>
    api.send('PATCH', `${NODE_MAINTENANCES}/${name}`, { body: { spec: { nodeName } }, type: MERGE });
  await api.send('POST', NODE_MAINTENANCES, { body: maintenance('f-2', 'there') });
  await move('f-2', 'elsewhere');
  await move('f-2', 'here');
  await move('f-1', 'there');
  await move('f-1', 'elsewhere');
  await api.send('DELETE', `${NODE_MAINTENANCES}/f-2`);
  watches.endAll();
  const events = (text: string): string[] =>
    text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string; object: { metadata: { name: string } } })
      .map(({ type, object }) => `${type} ${object.metadata.name}`);
  assert.deepEqual(events((await watching?.text()) ?? ''), [
    'ADDED f-1',
    'ADDED f-2',
    'DELETED f-1',
    'DELETED f-2',
  ]);
  assert.deepEqual(events((await byName?.text()) ?? ''), ['ADDED f-1', 'MODIFIED f-1', 'MODIFIED f-1']);
});
