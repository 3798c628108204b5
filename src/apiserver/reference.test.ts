/** Unusual and wrong requests get what a Kubernetes API server that serves the same CRDs gives; found side by side. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { parseTokenFile } from './auth/tokens.ts';
import { createHarness, router, ROUTERS } from '../../test/support/apiserver-harness.ts';
import type { Answer, Harness } from '../../test/support/apiserver-harness.ts';

const MERGE = 'application/merge-patch+json';
const JSON_PATCH = 'application/json-patch+json';
const APPLY = 'application/apply-patch+yaml';
const CRDS = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io';

let api: Harness;
before(async () => {
  api = await createHarness();
});
after(() => api.close());

const create = (name: string, metadata: object = {}): Promise<Answer> =>
  api.send('POST', ROUTERS, { body: router(name, { metadata }) });
const patch = (name: string, body: unknown, type = MERGE): Promise<Answer> =>
  api.send('PATCH', `${ROUTERS}/${name}`, { body, type });
/** `field: text` of every cause. */
const causes = ({ status }: Answer): string[] =>
  (status.details?.causes ?? []).map(({ field, message }) => `${field}: ${message}`);

test('metadata is judged rule by rule', async () => {
  const wrong: [object, RegExp[]][] = [
    [{ labels: { 'a/b/c': 'x' } }, [/^metadata\.labels: .*a valid label key must consist/u]],
    [{ labels: { 'Upper.x/y': 'z' } }, [/prefix part a lowercase RFC 1123 subdomain/u]],
    [{ labels: { '/x': '1' } }, [/prefix part must be non-empty/u]],
    [{ labels: { '': '1' } }, [/name part must be non-empty/u, /name part must consist/u]],
    [{ labels: { ['x'.repeat(64)]: '1' } }, [/name part must be no more than 63 bytes/u]],
    [{ labels: { a: 'x'.repeat(64) } }, [/must be no more than 63 bytes/u]],
    [{ annotations: { 'a b': '' } }, [/^metadata\.annotations: /u]],
    [{ finalizers: ['a b', 'x'] }, [/^metadata\.finalizers: /u]],
    [{ finalizers: ['orphan', 'foregroundDeletion'] }, [/cannot be both set/u]],
    [
      { ownerReferences: [{ apiVersion: '', kind: 'X', name: 'x', uid: '' }] },
      [
        /^metadata\.ownerReferences\[0\]\.apiVersion: Required value: must not be empty/u,
        /^metadata\.ownerReferences\[0\]\.uid: Required value/u,
      ],
    ],
    [
      { ownerReferences: [{ apiVersion: 'v1', kind: 'Event', name: 'x', uid: 'y' }] },
      [/Kind=Event is disallowed from being an owner/u],
    ],
    [
      {
        ownerReferences: ['X', 'Y'].map((kind) => ({
          apiVersion: 'a/v1',
          kind,
          name: 'x',
          uid: 'y',
          controller: true,
        })),
      },
      [/Only one reference can have Controller set to true\. .* X\/x and Y\/x/u],
    ],
  ];
  for (const [metadata, patterns] of wrong) {
    const answer = await create('judged', metadata);
    assert.equal(answer.code, 422, answer.text);
    const found = causes(answer);
    assert.equal(found.length, patterns.length, found.join('\n'));
    for (const [at, pattern] of patterns.entries()) assert.match(found[at] ?? '', pattern);
  }
  const generated = await api.send('POST', ROUTERS, {
    body: router('', { metadata: { generateName: 'Foo_' } }),
  });
  assert.deepEqual(
    generated.status.details?.causes?.map(({ field }) => field),
    ['metadata.generateName', 'metadata.name'],
  );
  const nameless = await create('');
  assert.equal(nameless.code, 422);
  assert.ok(!Object.hasOwn(nameless.status.details ?? {}, 'name'));
});

test('the case of an annotation key, a null label and a resourceVersion of 0 do no harm', async () => {
  const made = await create('lenient', {
    annotations: { 'A.b/C': 'y' },
    labels: { a: null },
    resourceVersion: '0',
    creationTimestamp: '2020-01-01T00:00:00.123Z',
  });
  assert.equal(made.code, 201, made.text);
  assert.deepEqual(made.object.metadata.labels, { a: '' });
  assert.deepEqual(Object.keys(made.object).slice(0, 3), ['apiVersion', 'kind', 'metadata']);
  const time = await create('time', { creationTimestamp: 'nope' });
  assert.equal(time.code, 400);
  assert.match(time.status.message ?? '', /parsing time "nope"/u);
});

test('an object of another kind is refused as each way of writing refuses it', async () => {
  await create('kinds');
  const other = { ...router('kinds'), kind: 'NodeMaintenance' };
  const next = { ...router('kinds'), apiVersion: 'edge.example.com/v2' };
  const path = `${ROUTERS}/kinds`;
  const cases: [Answer, number, RegExp][] = [
    [
      await api.send('POST', ROUTERS, { body: other }),
      422,
      /NodeMaintenance\.edge\.example\.com "kinds" is invalid: kind: .*must be Router/u,
    ],
    [await api.send('POST', ROUTERS, { body: next }), 400, /does not match the expected API version/u],
    [await api.send('PUT', path, { body: other }), 422, /kind: Invalid value: "NodeMaintenance"/u],
    [await patch('kinds', { kind: 'Foo' }), 422, /Foo\.edge\.example\.com "kinds" is invalid: kind/u],
    [await patch('kinds', { apiVersion: 'foo/v1' }), 422, /apiVersion: .*must be edge\.example\.com\/v1/u],
    [await patch('kinds', { kind: null }), 422, /patch: .*Object 'Kind' is missing/u],
    [await patch('kinds', { metadata: { labels: { a: 1 } } }), 422, /patch: .*cannot unmarshal number/u],
    [await patch('kinds', { metadata: { name: null } }), 400, /name must be provided/u],
    [
      await patch('kinds', { metadata: { resourceVersion: null } }),
      422,
      /^routers\.edge\.example\.com "kinds" is invalid: metadata\.resourceVersion: .*must be specified/u,
    ],
  ];
  for (const [answer, code, message] of cases) {
    assert.equal(answer.code, code, answer.text);
    assert.match(answer.status.message ?? '', message);
  }
});

test('only a delete says when an object is deleted', async () => {
  await create('times', { finalizers: ['a.b/c'] });
  const early = { deletionTimestamp: '2020-01-01T00:00:00Z', deletionGracePeriodSeconds: 4 };
  const set = await patch('times', { metadata: early });
  assert.equal(set.code, 422);
  assert.deepEqual(causes(set), [
    'metadata.deletionTimestamp: Invalid value: "2020-01-01T00:00:00Z": field is immutable',
    'metadata.deletionGracePeriodSeconds: Invalid value: 4: field is immutable',
  ]);
  await api.send('DELETE', `${ROUTERS}/times`);
  const again = await create('times');
  assert.equal(
    again.status.message,
    'object is being deleted: routers.edge.example.com "times" already exists',
  );
  assert.equal((await patch('times', { metadata: { deletionTimestamp: null } })).code, 200);
  assert.equal((await patch('times', { metadata: { deletionGracePeriodSeconds: 5 } })).code, 422);
  assert.equal((await patch('times', { metadata: { finalizers: null } })).code, 200);
});

test('a prefix for names may be set later, and has an owner', async () => {
  await create('prefix');
  const answer = await patch('prefix', { metadata: { generateName: 'p-' } });
  assert.equal(answer.object.metadata.generateName, 'p-');
  assert.match(answer.text, /"f:generateName":\{\}/u);
});

test('JSON patches are as lenient as the reference reads them', async () => {
  await create('jp');
  const services = ['a', 'b', 'c'].map((name, at) => ({ name, port: at + 1 }));
  const names = (answer: Answer) =>
    (answer.object.spec as { advertisedServices: { name: string }[] }).advertisedServices.map(
      ({ name }) => name,
    );
  await patch('jp', [{ op: 'replace', path: '/spec/advertisedServices', value: services }], JSON_PATCH);
  const done = await patch(
    'jp',
    [
      { op: 'test', path: '/spec/nothing', value: null },
      { op: 'add', path: '/metadata/labels', value: { a: 'b' } },
      { op: 'add', path: '/metadata/labels/c' },
      { op: 'remove', path: '/spec/advertisedServices/-1' },
      { op: 'move', from: '/spec/advertisedServices/0', path: '/spec/advertisedServices/1', note: 'x' },
    ],
    JSON_PATCH,
  );
  assert.equal(done.code, 200, done.text);
  assert.deepEqual(names(done), ['b', 'a']);
  assert.deepEqual(done.object.metadata.labels, { a: 'b', c: '' });
  assert.match(done.headers.get('warning') ?? '', /json patch unknown field \\"\[4\]\.note\\"/u);
  assert.equal((await patch('jp', null, JSON_PATCH)).code, 200);
  for (const operation of [
    { op: 'move', from: '/spec/advertisedServices/0', path: '/spec/advertisedServices/2' },
    { op: 'remove', path: '/spec/advertisedServices/-3' },
    { op: 'move', from: '/spec', path: '/spec/frps/x' },
    { op: 'frob', path: '/x' },
    { op: 'add', value: 1 },
  ]) {
    const answer = await patch('jp', [operation], JSON_PATCH);
    assert.equal(answer.code, 422, JSON.stringify(operation));
    assert.match(
      answer.status.message ?? '',
      /^the server rejected our request due to an error in our request/u,
    );
  }
});

test('an apply has no item twice, no owners, and its version counts', async () => {
  const apply = (spec: unknown, metadata: object = {}, query = '') =>
    api.send('PATCH', `${ROUTERS}/ssa?fieldManager=m${query}`, {
      body: router('ssa', { spec, metadata }),
      type: APPLY,
    });
  const frps = { bindPort: 1 };
  assert.equal((await apply({ frps }, { resourceVersion: '5' })).code, 201);
  const twice = await apply({
    frps,
    advertisedServices: [
      { name: 'c', port: 1 },
      { name: 'c', port: 1 },
    ],
  });
  assert.equal(twice.code, 400);
  assert.match(
    twice.status.message ?? '',
    /\.spec\.advertisedServices: duplicate entries for key \[name="c",namespace="default",port=1,protocol="TCP"\]/u,
  );
  const scopes = await apply({ frps: { ...frps, auth: { additionalScopes: ['HeartBeats', 'HeartBeats'] } } });
  assert.match(scopes.status.message ?? '', /duplicate entries for key \[="HeartBeats"\]/u);
  assert.match((await apply({ frps, advertisedServices: [null] })).text, /may not have a null element/u);
  assert.match((await apply({ frps }, { managedFields: [] })).text, /managedFields must be nil/u);
  assert.equal((await apply({ frps }, { resourceVersion: '0' })).code, 422);
  assert.equal((await apply({ frps }, { resourceVersion: '1' })).code, 409);
});

test('a request that fails is warned of its unknown fields all the same', async () => {
  const body = router('warned', { spec: { frps: { bindPort: 0, bogus: 1 } } });
  const { code, headers } = await api.send('POST', ROUTERS, { body });
  assert.equal(code, 422);
  assert.match(headers.get('warning') ?? '', /unknown field \\"spec\.frps\.bogus\\"/u);
});

test('a finalizer without a domain is warned of when it is added, and only then', async () => {
  const warning = ({ headers }: Answer): string => headers.get('warning') ?? '';
  const created = await create('unwise', { finalizers: ['kubernetes', 'example.com/good', 'bare'] });
  assert.equal(
    warning(created),
    String.raw`299 - "metadata.finalizers: \"bare\": prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers"`,
  );
  assert.equal(warning(await patch('unwise', { metadata: { labels: { a: 'b' } } })), '');
  const added = await patch('unwise', {
    metadata: { finalizers: ['kubernetes', 'example.com/good', 'bare', 'a.b'] },
  });
  assert.equal(
    warning(added),
    String.raw`299 - "metadata.finalizers: \"a.b\": prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers"`,
  );
  assert.equal(warning(await patch('unwise', { metadata: { finalizers: null } })), '');
});

test('keys that stand twice in YAML count once, with a warning or an error', async () => {
  const raw =
    'apiVersion: edge.example.com/v1\nkind: Router\nmetadata: {name: NAME}\nspec: {frps: {bindPort: 1, bindPort: 2}}\n';
  const send = (name: string, query: string) =>
    api.send('POST', `${ROUTERS}${query}`, { raw: raw.replace('NAME', name), type: 'application/yaml' });
  const warned = await send('yaml-1', '');
  assert.equal(warned.code, 201, warned.text);
  assert.equal((warned.object.spec as { frps: { bindPort: number } }).frps.bindPort, 2);
  assert.match(warned.headers.get('warning') ?? '', /line 4: key \\"bindPort\\" already set in map/u);
  assert.equal((await send('yaml-2', '?fieldValidation=Ignore')).headers.get('warning'), null);
  const strict = await send('yaml-3', '?fieldValidation=Strict');
  assert.equal(strict.code, 400);
  assert.match(strict.status.message ?? '', /line 4: key "bindPort" already set in map/u);
});

test('a delete whose options cannot be understood deletes nothing', async () => {
  await create('kept');
  const path = `${ROUTERS}/kept`;
  for (const body of [
    { dryRun: 'All' },
    { dryRun: [true] },
    { gracePeriodSeconds: 'x' },
    { gracePeriodSeconds: 1.5 },
    { orphanDependents: 'yes' },
    { propagationPolicy: 1 },
    { preconditions: 'x' },
    { preconditions: { uid: 1 } },
  ]) {
    const answer = await api.send('DELETE', path, { body });
    assert.equal(answer.code, 400, JSON.stringify(body));
    assert.match(answer.status.message ?? '', /json: cannot unmarshal/u);
  }
  assert.equal((await api.send('DELETE', `${path}?gracePeriodSeconds=x`)).code, 400);
  assert.equal((await api.send('DELETE', `${path}?dryRun=`)).code, 422);
  assert.equal((await api.send('GET', path)).code, 200);
  const done = await api.send('DELETE', path, { raw: 'null', headers: { accept: 'application/yaml' } });
  assert.equal(done.code, 200);
  assert.match(done.text, /^apiVersion: v1\ndetails:\n {2}group: edge\.example\.com\n/u);
});

test('answers come in YAML as well, failures and Tables too, and in the beta of Table', async () => {
  await create('forms');
  const get = (path: string, accept: string) => api.send('GET', path, { headers: { accept } });
  const object = await get(`${ROUTERS}/forms`, 'application/yaml');
  assert.match(
    object.text,
    /^apiVersion: edge\.example\.com\/v1\nkind: Router\nmetadata:\n {2}creationTimestamp: /u,
  );
  const missing = await get(`${ROUTERS}/none`, 'application/yaml');
  assert.equal(missing.code, 404);
  assert.match(missing.text, /^apiVersion: v1\ncode: 404\n/u);
  const table = await get(`${ROUTERS}/forms`, TABLE.replace('json', 'yaml'));
  assert.match(table.text, /^kind: Table$/mu);
  const beta = await get(`${ROUTERS}/forms`, TABLE.replace('v=v1', 'v=v1beta1'));
  assert.equal(beta.object.apiVersion, 'meta.k8s.io/v1beta1');
  const bare = await get(`${ROUTERS}/forms?includeObject=None`, TABLE);
  assert.match(bare.text, /"object":null/u);
  assert.equal((await get(`${ROUTERS}/forms?includeObject=Foo`, TABLE)).code, 400);
});

test('JSON is indented for people and only for them', async () => {
  await create('people');
  const get = async (query: string, agent: string) =>
    (await api.send('GET', `${ROUTERS}/people${query}`, { headers: { 'user-agent': agent } })).text;
  for (const [query, agent, isIndented] of [
    ['', 'curl/8.0', true],
    ['?pretty=false', 'curl/8.0', false],
    ['', 'kubectl/v1.33.0', false],
    ['?pretty=true', 'kubectl/v1.33.0', true],
    ['?pretty', 'x', true],
  ] as const) {
    assert.equal((await get(query, agent)).startsWith('{\n  "'), isIndented, `${agent} ${query}`);
  }
  const failure = await api.send('GET', `${ROUTERS}/none`, { headers: { 'user-agent': 'curl/8.0' } });
  assert.match(failure.text, /\n {2}"reason": "NotFound",\n/u);
  assert.equal(Number(failure.headers.get('content-length')), failure.text.length);
});

test('the CRDs are a resource of its own that can be read, watched for and not written', async () => {
  const groups = await api.send('GET', '/apis');
  assert.match(groups.text, /"name":"apiextensions\.k8s\.io"/u);
  const resources = await api.send('GET', '/apis/apiextensions.k8s.io/v1');
  assert.deepEqual(
    (resources.object['resources'] as { name: string; verbs: string[] }[]).map(({ name, verbs }) => [
      name,
      verbs,
    ]),
    [['customresourcedefinitions', ['get', 'list', 'watch']]],
  );
  const table = await api.send('GET', CRDS, { headers: { accept: TABLE } });
  const { rows } = table.object as unknown as { rows: { cells: string[] }[] };
  assert.deepEqual(
    rows.map(({ cells }) => cells[0]),
    ['nodemaintenances.edge.example.com', 'routers.edge.example.com'],
  );
  assert.match(rows[0]?.cells[1] ?? '', /^\d{4}-\d\d-\d\dT/u);
  const one = await api.send('GET', `${CRDS}?fieldSelector=metadata.name%3Drouters.edge.example.com`);
  assert.equal((one.object['items'] as unknown[]).length, 1);
  for (const [method, path] of [
    ['POST', CRDS],
    ['DELETE', CRDS],
    ['PATCH', `${CRDS}/routers.edge.example.com`],
    ['PUT', `${CRDS}/routers.edge.example.com`],
  ] as const) {
    const { code, status } = await api.send(method, path, { body: {}, type: MERGE });
    assert.equal(code, 405, path);
    assert.match(status.message ?? '', /customresourcedefinitions\.apiextensions\.k8s\.io/u);
  }
});

test('the core group has a namespace, and no events and no services, which can be looked for and not written', async () => {
  assert.deepEqual((await api.send('GET', '/api')).object['versions'], ['v1']);
  const { resources, groupVersion } = (await api.send('GET', '/api/v1')).object as unknown as {
    resources: { name: string; namespaced: boolean; verbs: string[] }[];
    groupVersion: string;
  };
  assert.equal(groupVersion, 'v1');
  assert.deepEqual(
    resources.map(({ name, namespaced }) => [name, namespaced]),
    [
      ['events', true],
      ['namespaces', false],
      ['services', true],
    ],
  );
  const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
  const aggregated = await api.send('GET', '/api', { headers: { accept } });
  const { items } = aggregated.object as unknown as {
    items: { metadata: object; versions: { resources: { resource: string; scope: string }[] }[] }[];
  };
  assert.deepEqual(items[0]?.metadata, {}, 'the core group has no name');
  assert.deepEqual(
    items[0].versions[0]?.resources.map(({ resource, scope }) => [resource, scope]),
    [
      ['events', 'Namespaced'],
      ['namespaces', 'Cluster'],
      ['services', 'Namespaced'],
    ],
  );
  assert.doesNotMatch((await api.send('GET', '/apis')).text, /"name":""/u);
  const about =
    'fieldSelector=involvedObject.kind%3DRouter,involvedObject.name%3Dr1,involvedObject.uid%3D1&limit=500';
  for (const path of ['/api/v1/events', '/api/v1/namespaces/default/events']) {
    const { code, object } = await api.send('GET', `${path}?${about}`);
    assert.equal(code, 200, path);
    assert.deepEqual([object.kind, object.apiVersion, object['items']], ['EventList', 'v1', []], path);
  }
  const { rows } = (await api.send('GET', '/api/v1/namespaces', { headers: { accept: TABLE } }))
    .object as unknown as { rows: { cells: string[] }[] };
  assert.deepEqual(
    rows.map(({ cells }) => cells.slice(0, 2)),
    [['default', 'Active']],
  );
  assert.equal((await api.send('GET', '/api/v1/namespaces/default')).object.metadata.name, 'default');
  const missing = await api.send('GET', '/api/v1/namespaces/other');
  assert.equal(missing.status.message, 'namespaces "other" not found');
  assert.equal((await api.send('GET', '/api/v1/namespaces/default/services/x')).code, 404);
  for (const path of [
    '/api/v2',
    '/api/v1/pods',
    '/api/v1/routers',
    '/api/v1/namespaces/default/namespaces',
    '/api/v1/namespaces/default/pods',
    '/apis/edge.example.com/v1/namespaces/default/routers',
  ]) {
    const { code, status } = await api.send('GET', path);
    assert.equal(code, 404, path);
    assert.equal(status.message, 'the server could not find the requested resource', path);
  }
  const event = { apiVersion: 'v1', kind: 'Event', metadata: { name: 'e' } };
  const refused = await api.send('POST', '/api/v1/namespaces/default/events', { body: event });
  assert.equal(refused.code, 405);
  assert.equal(refused.status.message, 'create is not supported on resources of kind "events"');
});

test('health tells its checks, the root its paths, and an unknown subresource is an object not found', async () => {
  const verbose = await api.send('GET', '/readyz?verbose');
  assert.equal(verbose.text, '[+]ping ok\n[+]serving ok\nreadyz check passed\n');
  assert.equal((await api.send('GET', '/livez/ping')).text, 'ok');
  assert.equal((await api.send('GET', '/healthz')).headers.get('cache-control'), 'no-cache, private');
  const { paths } = (await api.send('GET', '/')).object as unknown as { paths: string[] };
  assert.ok(paths.includes('/apis/edge.example.com/v1'));
  const scale = await api.send('GET', `${ROUTERS}/a/scale`);
  assert.equal(scale.code, 404);
  assert.equal(scale.status.details?.kind, 'routers');
});

test('an administrator may act as somebody else, and has only what that one has; nobody else may', async (t) => {
  const tokens = parseTokenFile('admin,root,1,"edge:admin"\nside,s,2,"edge:sidecar"\n', 'tokens');
  const guarded = await createHarness({ tokens });
  t.after(() => guarded.close());
  const send = (token: string, headers: Record<string, string>, method = 'GET') =>
    guarded.send(method, ROUTERS, {
      ...(method === 'POST' ? { body: router('as') } : {}),
      headers: { authorization: `Bearer ${token}`, ...headers },
      transport: 'https',
    });
  const reader = { 'impersonate-user': 'jane', 'impersonate-group': 'x, edge:sidecar' };
  assert.equal((await send('admin', reader)).code, 200);
  const refused = await send('admin', reader, 'POST');
  assert.equal(refused.code, 403);
  assert.match(refused.status.message ?? '', /User "jane" cannot create resource "routers"/u);
  assert.equal((await send('admin', { 'impersonate-user': 'jane' })).code, 403);
  assert.equal((await send('admin', { 'impersonate-group': 'edge:admin' })).code, 400);
  const other = await send('side', { 'impersonate-user': 'root', 'impersonate-group': 'edge:admin' });
  assert.equal(other.code, 403);
  assert.match(other.status.message ?? '', /^users "root" is forbidden: User "s" cannot impersonate/u);
});
