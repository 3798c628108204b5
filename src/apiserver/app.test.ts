/** The API through the application: verbs, errors, negotiation and roles as Kubernetes clients expect them. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { parseTokenFile } from './auth/tokens.ts';
import { createHarness, NODE_MAINTENANCES, router, ROUTERS } from '../../test/support/apiserver-harness.ts';
import type { Answer, Harness } from '../../test/support/apiserver-harness.ts';

const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
const MERGE = 'application/merge-patch+json';
const JSON_PATCH = 'application/json-patch+json';

let api: Harness;
before(async () => {
  api = await createHarness({
    tokens: parseTokenFile(
      [
        'tok-router,edge:router:node-1,,"edge:router"',
        'tok-syncer,sync,,syncer',
        'tok-sidecar,side,,sidecar',
        'tok-cloud,cloud,u1,"cloud,other"',
        'tok-none,nobody,,strangers',
      ].join('\n'),
      'tokens',
    ),
  });
});
after(() => api.close());

function bearer(token: string): { headers: Record<string, string>; transport: 'https' } {
  return { headers: { authorization: `Bearer ${token}` }, transport: 'https' };
}

function causes(answer: Answer): string[] {
  return (answer.status.details?.causes ?? []).map((cause) => `${cause.field}: ${cause.message}`);
}

function specOf(answer: Answer): { frps: Record<string, unknown> } {
  return answer.object.spec as { frps: Record<string, unknown> };
}

test('create fills in defaults and server metadata, and drops status', async () => {
  const { code, object } = await api.send('POST', ROUTERS, {
    body: router('create-1', {
      status: { version: 'x' },
      metadata: { uid: 'mine', generation: 9, namespace: 'n', resourceVersion: '' },
    }),
  });
  assert.equal(code, 201);
  assert.deepEqual(object.spec, {
    frps: {
      bindPort: 7000,
      bindAddr: '0.0.0.0',
      dashboardAddr: '127.0.0.1',
      maxPortsPerClient: 0,
      userConnTimeout: 10,
      udpPacketSize: 1500,
    },
  });
  assert.equal(object.status, undefined);
  assert.equal(object.metadata.generation, 1);
  assert.equal(object.metadata.namespace, undefined);
  assert.match(object.metadata.uid ?? '', /^[0-9a-f]{8}-/u);
  assert.match(object.metadata.creationTimestamp ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/u);
  const again = await api.send('POST', ROUTERS, { body: router('create-1') });
  assert.equal(again.code, 409);
  assert.equal(again.status.reason, 'AlreadyExists');
  assert.equal(again.status.message, 'routers.edge.example.com "create-1" already exists');
  assert.deepEqual(again.status.details, { name: 'create-1', group: 'edge.example.com', kind: 'routers' });
});

test('a body without Content-Type is JSON, one in YAML is read as YAML', async () => {
  const raw = await api.send('POST', ROUTERS, {
    raw: new TextEncoder().encode(JSON.stringify(router('raw-1'))),
  });
  assert.equal(raw.code, 201);
  const yaml = await api.send('POST', ROUTERS, {
    raw: 'apiVersion: edge.example.com/v1\nkind: Router\nmetadata: {name: yaml-1}\nspec: {frps: {bindPort: 1}}\n',
    type: 'application/yaml',
  });
  assert.equal(yaml.code, 201);
  assert.equal((await api.send('POST', ROUTERS, { raw: '{}', type: 'text/html' })).code, 415);
});

test('generateName makes a name behind the prefix and keeps the prefix', async () => {
  const body = router('', { metadata: { name: '', generateName: 'gen-' } });
  const { code, object } = await api.send('POST', ROUTERS, { body });
  assert.equal(code, 201);
  assert.match(object.metadata.name ?? '', /^gen-[bcdfghjklmnpqrstvwxz2456789]{5}$/u);
  assert.equal(object.metadata.generateName, 'gen-');
});

test('every validation error is reported at once, with its field', async () => {
  const { code, status, ...answer } = await api.send('POST', ROUTERS, {
    body: router('Bad_Name', {
      metadata: { labels: { 'bad key': 'x' } },
      spec: {
        frps: {
          bindPort: 70000,
          udpPacketSize: 'big',
          auth: { additionalScopes: ['HeartBeats', 'HeartBeats'] },
        },
        advertisedServices: [
          { name: 'A', port: 1 },
          { port: 2 },
          { name: 'b', port: 3 },
          { name: 'b', port: 3 },
        ],
        loadBalancing: { policy: 'best' },
      },
    }),
  });
  assert.equal(code, 422);
  assert.equal(status.reason, 'Invalid');
  assert.equal(status.details?.kind, 'Router');
  const found = causes({ code, status, ...answer });
  const expected = [
    /^metadata\.name: Invalid value: "Bad_Name"/u,
    /^metadata\.labels: Invalid value: "bad key"/u,
    /^spec\.frps\.bindPort: Invalid value: 70000: spec\.frps\.bindPort in body should be less than or equal to 65535$/u,
    /^spec\.frps\.udpPacketSize: Invalid value: "string": spec\.frps\.udpPacketSize in body must be of type integer: "string"$/u,
    /^spec\.advertisedServices\[0\]\.name: Invalid value: "A": .* should match '\^\[a-z0-9\]/u,
    /^spec\.advertisedServices\[1\]\.name: Required value$/u,
    /^spec\.advertisedServices\[3\]: Duplicate value: \{"name":"b"/u,
    /^spec\.frps\.auth\.additionalScopes\[1\]: Duplicate value: "HeartBeats"$/u,
    /^spec\.loadBalancing\.policy: Unsupported value: "best": supported values: "roundRobin", /u,
  ];
  for (const pattern of expected)
    assert.ok(
      found.some((text) => pattern.test(text)),
      `${pattern} in\n${found.join('\n')}`,
    );
  assert.equal(found.length, expected.length, found.join('\n'));
  const missing = await api.send('POST', ROUTERS, {
    body: { apiVersion: 'edge.example.com/v1', kind: 'Router', metadata: { name: 'x' } },
  });
  assert.deepEqual(causes(missing), ['spec: Required value']);
  assert.equal(missing.status.message, 'Router.edge.example.com "x" is invalid: spec: Required value');
});

test('an integer may be written 7000.0 but not 1.5, and null counts as absent', async () => {
  const whole = await api.send('POST', ROUTERS, {
    raw: '{"apiVersion":"edge.example.com/v1","kind":"Router","metadata":{"name":"int-1"},"spec":{"frps":{"bindPort":7000.0,"bindAddr":null}}}',
  });
  assert.equal(whole.code, 201);
  assert.equal(specOf(whole).frps['bindAddr'], '0.0.0.0');
  const broken = await api.send('POST', ROUTERS, {
    body: router('int-2', { spec: { frps: { bindPort: 1.5 } } }),
  });
  assert.equal(broken.status.details?.causes?.[0]?.reason, 'FieldValueTypeInvalid');
});

test('bodies that are not this kind of object are refused with 400', async () => {
  const bodies: [string, RegExp][] = [
    ['{', /not valid JSON/u],
    ['[]', /must be of type Router\): it is not an object/u],
    ['{"apiVersion":"edge.example.com/v1"}', /Object 'Kind' is missing/u],
    [
      '{"apiVersion":"edge.example.com/v2","kind":"Router"}',
      /edge\.example\.com\/v2\) does not match the expected/u,
    ],
    [
      '{"apiVersion":"edge.example.com/v1","kind":"Router","metadata":{"name":"x","labels":{"a":1}}}',
      /labels/u,
    ],
    [
      JSON.stringify(router('x', { metadata: { resourceVersion: '5' } })),
      /resourceVersion should not be set/u,
    ],
    ['', /not valid JSON/u],
  ];
  for (const [raw, pattern] of bodies) {
    const { code, status } = await api.send('POST', ROUTERS, { raw });
    assert.equal(code, 400, raw);
    assert.equal(status.reason, 'BadRequest');
    assert.match(status.message ?? '', pattern);
  }
});

test('unknown and repeated fields are refused, warned about or ignored, and pruned always', async () => {
  const raw =
    '{"apiVersion":"edge.example.com/v1","kind":"Router","metadata":{"name":"NAME","bogus":1},"spec":{"frps":{"bindPort":1,"bogus":{"a":1},"bindPort":2}},"extra":1}';
  const send = (name: string, mode: string) =>
    api.send('POST', `${ROUTERS}?fieldValidation=${mode}`, { raw: raw.replace('NAME', name) });
  const strict = await send('fv-1', 'Strict');
  assert.equal(strict.code, 400);
  assert.equal(
    strict.status.message,
    'Router in version "v1" cannot be handled as a Router: strict decoding error: duplicate field "spec.frps.bindPort", unknown field "metadata.bogus", unknown field "extra", unknown field "spec.frps.bogus"',
  );
  const warn = await send('fv-2', 'Warn');
  assert.equal(warn.code, 201);
  assert.match(warn.headers.get('warning') ?? '', /299 - "unknown field \\"spec\.frps\.bogus\\""/u);
  assert.match(warn.headers.get('warning') ?? '', /299 - "duplicate field \\"spec\.frps\.bindPort\\""/u);
  assert.equal(specOf(warn).frps['bogus'], undefined);
  assert.equal(warn.object['extra'], undefined);
  const ignore = await send('fv-3', 'Ignore');
  assert.equal(ignore.code, 201);
  assert.equal(ignore.headers.get('warning'), null);
  const unknown = await send('fv-4', 'Maybe');
  assert.equal(unknown.code, 422);
  assert.equal(unknown.status.details?.kind, 'CreateOptions');
});

test('update replaces the spec, keeps status, counts generations and refuses stale versions', async () => {
  const { object: first } = await api.send('POST', ROUTERS, {
    body: router('upd-1', { metadata: { labels: { a: '1', b: '2' } } }),
  });
  const path = `${ROUTERS}/upd-1`;
  await api.send('PATCH', `${path}/status`, { body: { status: { version: '1.0' } }, type: MERGE });
  const stale = await api.send('PUT', path, { body: first });
  assert.equal(stale.code, 409);
  assert.equal(stale.status.reason, 'Conflict');
  assert.equal(
    stale.status.message,
    'Operation cannot be fulfilled on routers.edge.example.com "upd-1": the object has been modified; please apply your changes to the latest version and try again',
  );
  const { object: current } = await api.send('GET', path);
  const changed = await api.send('PUT', path, {
    body: {
      ...current,
      metadata: { ...current.metadata, labels: { a: '1' } },
      spec: { frps: { bindPort: 7001 } },
      status: { version: 'mine' },
    },
  });
  assert.equal(changed.code, 200);
  assert.deepEqual(changed.object.metadata.labels, { a: '1' });
  assert.equal(changed.object.metadata.generation, 2);
  assert.deepEqual(changed.object.status, { version: '1.0' });
  const absent = await api.send('PUT', path, { body: router('upd-1') });
  assert.equal(absent.code, 422);
  assert.equal(
    absent.status.details?.causes?.[0]?.message,
    'Invalid value: 0: must be specified for an update',
  );
  assert.equal(
    (await api.send('PUT', path, { body: router('other', { metadata: { resourceVersion: '1' } }) })).code,
    400,
  );
  assert.equal(
    (
      await api.send('PUT', `${ROUTERS}/none`, {
        body: router('none', { metadata: { resourceVersion: '1' } }),
      })
    ).code,
    404,
  );
  const otherUid = { ...changed.object, metadata: { ...changed.object.metadata, uid: 'other' } };
  assert.equal((await api.send('PUT', path, { body: otherUid })).code, 409);
});

test('a write that changes nothing does not write', async () => {
  const { object } = await api.send('POST', ROUTERS, {
    body: router('noop-1', { metadata: { labels: { a: '1' } } }),
  });
  const path = `${ROUTERS}/noop-1`;
  const revision = api.store.revision;
  const same = {
    ...object,
    metadata: { ...object.metadata, creationTimestamp: '2020-01-01T00:00:00.000Z' },
  };
  assert.equal(
    (await api.send('PUT', path, { body: same })).object.metadata.resourceVersion,
    object.metadata.resourceVersion,
  );
  await api.send('PATCH', path, {
    body: { metadata: { labels: { a: '1' } }, status: { version: 'ignored' } },
    type: MERGE,
  });
  await api.send('PATCH', path, {
    body: [{ op: 'test', path: '/spec/frps/bindPort', value: 7000 }],
    type: JSON_PATCH,
  });
  await api.send('PUT', `${path}/status`, { body: { ...object, spec: { frps: {} } } });
  assert.equal(api.store.revision, revision);
});

test('the status subresource takes status alone, and validates it alone', async () => {
  const { object } = await api.send('POST', ROUTERS, { body: router('st-1') });
  const path = `${ROUTERS}/st-1/status`;
  const written = await api.send('PUT', path, {
    body: {
      ...object,
      metadata: { ...object.metadata, labels: { x: 'y' } },
      spec: { frps: { bindPort: 1 } },
      status: { conditions: [{ type: 'Ready', status: 'True' }] },
    },
  });
  assert.equal(written.code, 200);
  assert.equal(written.object.metadata.labels, undefined);
  assert.equal(written.object.metadata.generation, 1);
  assert.equal(specOf(written).frps['bindPort'], 7000);
  const wrong = await api.send('PATCH', path, {
    body: { status: { conditions: [{ type: 'Ready', status: 'Maybe' }] } },
    type: MERGE,
  });
  assert.equal(wrong.code, 422);
  assert.deepEqual(causes(wrong), [
    'status.conditions[0].status: Unsupported value: "Maybe": supported values: "True", "False", "Unknown"',
  ]);
  assert.equal((await api.send('POST', path, { body: object })).code, 405);
  assert.equal((await api.send('DELETE', path)).code, 405);
  assert.equal((await api.send('GET', `${ROUTERS}/st-1/scale`)).code, 404);
});

test('merge patches merge maps, replace lists, remove with null, and lock with a resourceVersion', async () => {
  await api.send('POST', ROUTERS, {
    body: router('mp-1', {
      metadata: { labels: { a: '1', b: '2' } },
      spec: { frps: { bindPort: 1, allowPorts: [{ single: 1 }, { single: 2 }] } },
    }),
  });
  const path = `${ROUTERS}/mp-1`;
  const patched = await api.send('PATCH', path, {
    body: { metadata: { labels: { a: null, c: '3' } }, spec: { frps: { allowPorts: [{ single: 9 }] } } },
    type: MERGE,
  });
  assert.deepEqual(patched.object.metadata.labels, { b: '2', c: '3' });
  assert.deepEqual(specOf(patched).frps['allowPorts'], [{ single: 9 }]);
  assert.equal(patched.object.metadata.generation, 2);
  const refused: [unknown, number][] = [
    [{ metadata: { resourceVersion: '1' } }, 409],
    [{ metadata: { name: 'other' } }, 400],
    [{ metadata: { uid: 'other' } }, 422],
    [{ spec: null }, 422],
    [[], 400],
  ];
  for (const [body, code] of refused)
    assert.equal((await api.send('PATCH', path, { body, type: MERGE })).code, code, JSON.stringify(body));
  const polluted = await api.send('PATCH', path, {
    raw: '{"__proto__":{"polluted":1},"metadata":{"__proto__":{"polluted":1}}}',
    type: MERGE,
  });
  assert.equal(polluted.code, 200);
  assert.equal(({} as { polluted?: number }).polluted, undefined);
  const strict = await api.send('PATCH', `${path}?fieldValidation=Strict`, {
    body: { spec: { zz: 1 } },
    type: MERGE,
  });
  assert.equal(strict.code, 422);
  assert.match(strict.status.message ?? '', /strict decoding error: unknown field "spec\.zz"/u);
  assert.equal((await api.send('PATCH', `${ROUTERS}/none`, { body: {}, type: MERGE })).code, 404);
});

test('JSON patches apply in order or not at all', async () => {
  await api.send('POST', ROUTERS, { body: router('jp-1', { metadata: { annotations: { 'a/b.c': 'x' } } }) });
  const path = `${ROUTERS}/jp-1`;
  const send = (body: unknown) => api.send('PATCH', path, { body, type: JSON_PATCH });
  const done = await send([
    { op: 'test', path: '/metadata/annotations/a~1b.c', value: 'x' },
    { op: 'add', path: '/spec/frps/allowPorts', value: [{ single: 1 }] },
    { op: 'add', path: '/spec/frps/allowPorts/-', value: { single: 2 } },
    { op: 'replace', path: '/spec/frps/bindPort', value: 7777 },
    { op: 'copy', from: '/metadata/annotations', path: '/metadata/labels' },
    { op: 'remove', path: '/metadata/labels/a~1b.c' },
  ]);
  assert.equal(done.code, 200);
  assert.deepEqual(specOf(done).frps['allowPorts'], [{ single: 1 }, { single: 2 }]);
  assert.equal(specOf(done).frps['bindPort'], 7777);
  const cases: [unknown, number][] = [
    [
      [
        { op: 'replace', path: '/spec/frps/bindPort', value: 1 },
        { op: 'test', path: '/spec/frps/bindPort', value: 2 },
      ],
      422,
    ],
    [[{ op: 'remove', path: '/spec/none' }], 422],
    [[{ op: 'replace', path: '/spec/frps/allowPorts/-', value: 1 }], 422],
    [[{ op: 'add', path: '/spec/frps/allowPorts/7', value: {} }], 422],
    [[{ op: 'add', path: '/__proto__/x', value: 1 }], 422],
    [[{ op: 'add', path: '/metadata/constructor/prototype/x', value: 1 }], 422],
    [[{ op: 'add', path: '/metadata/toString/x', value: 1 }], 422],
    [[{ op: 'frob', path: '/x' }], 422],
    [{ op: 'add' }, 400],
    [[{ op: 'add', path: 'x', value: 1 }], 422],
  ];
  for (const [body, code] of cases) assert.equal((await send(body)).code, code, JSON.stringify(body));
  assert.equal(specOf(await api.send('GET', path)).frps['bindPort'], 7777);
});

test('strategic merge and apply patches are refused with the text that kubectl explains', async () => {
  for (const type of ['application/strategic-merge-patch+json', 'application/json']) {
    const { code, status } = await api.send('PATCH', `${ROUTERS}/x`, { raw: '{}', type });
    assert.equal(code, 415);
    assert.match(
      status.message ?? '',
      /^the body of the request was in an unknown format - accepted media types include: application\/json-patch\+json, application\/merge-patch\+json/u,
    );
  }
});

test('delete answers with the uid, and honours preconditions and dry run in body and query', async () => {
  const { object } = await api.send('POST', ROUTERS, { body: router('del-1') });
  const path = `${ROUTERS}/del-1`;
  const wrong = await api.send('DELETE', path, { body: { preconditions: { uid: 'x' } } });
  assert.equal(wrong.code, 409);
  assert.equal(
    (await api.send('DELETE', path, { body: { preconditions: { resourceVersion: '1' } } })).code,
    409,
  );
  assert.equal(
    (await api.send('DELETE', path, { body: { propagationPolicy: 'Background', dryRun: ['All'] } })).code,
    200,
  );
  assert.equal((await api.send('DELETE', `${path}?dryRun=All`)).code, 200);
  assert.equal((await api.send('DELETE', path, { body: { propagationPolicy: 'Sometimes' } })).code, 422);
  assert.equal((await api.send('DELETE', path, { body: { kind: 'Router' } })).code, 400);
  assert.equal((await api.send('GET', path)).code, 200);
  const done = await api.send('DELETE', path, { raw: '', type: 'application/json' });
  assert.equal(done.code, 200);
  assert.deepEqual(done.status, {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: { name: 'del-1', group: 'edge.example.com', kind: 'routers', uid: object.metadata.uid },
  });
  const gone = await api.send('DELETE', path);
  assert.equal(gone.code, 404);
  assert.equal(gone.status.message, 'routers.edge.example.com "del-1" not found');
});

test('finalizers hold a deletion until the last one goes', async () => {
  await api.send('POST', ROUTERS, { body: router('fin-1', { metadata: { finalizers: ['a.b/c'] } }) });
  const path = `${ROUTERS}/fin-1`;
  const marked = await api.send('DELETE', path);
  assert.equal(marked.code, 200);
  assert.equal(marked.object.kind, 'Router');
  assert.equal(marked.object.metadata.generation, 2);
  assert.equal(marked.object.metadata.deletionGracePeriodSeconds, 0);
  const revision = api.store.revision;
  assert.equal(
    (await api.send('DELETE', path)).object.metadata.resourceVersion,
    String(revision),
    'nothing changes',
  );
  const added = await api.send('PATCH', path, {
    body: { metadata: { finalizers: ['a.b/c', 'd.e/f'] } },
    type: MERGE,
  });
  assert.equal(added.code, 422);
  assert.match(causes(added)[0] ?? '', /^metadata\.finalizers: Forbidden: no new finalizers can be added/u);
  const revived = await api.send('PATCH', path, {
    body: { metadata: { deletionTimestamp: null } },
    type: MERGE,
  });
  assert.notEqual(revived.object.metadata.deletionTimestamp, undefined);
  const last = await api.send('PATCH', path, { body: { metadata: { finalizers: null } }, type: MERGE });
  assert.equal(last.code, 200);
  assert.equal((await api.send('GET', path)).code, 404);
});

test('dry runs compute everything and store nothing', async () => {
  const created = await api.send('POST', `${ROUTERS}?dryRun=All`, { body: router('dry-1') });
  assert.equal(created.code, 201);
  assert.equal(created.object.metadata.resourceVersion, undefined);
  assert.equal((await api.send('GET', `${ROUTERS}/dry-1`)).code, 404);
  const { object } = await api.send('POST', ROUTERS, { body: router('dry-1') });
  const patched = await api.send('PATCH', `${ROUTERS}/dry-1?dryRun=All`, {
    body: { spec: { frps: { bindPort: 9 } } },
    type: MERGE,
  });
  assert.equal(patched.object.metadata.generation, 2);
  assert.equal(patched.object.metadata.resourceVersion, object.metadata.resourceVersion);
  assert.equal(specOf(await api.send('GET', `${ROUTERS}/dry-1`)).frps['bindPort'], 7000);
  assert.equal((await api.send('POST', `${ROUTERS}?dryRun=Some`, { body: router('dry-2') })).code, 422);
});

test('lists page, select and report one revision', async () => {
  for (let at = 0; at < 5; at++) {
    const body = {
      apiVersion: 'edge.example.com/v1',
      kind: 'NodeMaintenance',
      metadata: { name: `nm-${at}`, labels: { even: String(at % 2 === 0) } },
      spec: { nodeName: `n${at}` },
    };
    assert.equal((await api.send('POST', NODE_MAINTENANCES, { body })).code, 201);
  }
  const names = (answer: Answer) =>
    (answer.object['items'] as { metadata: { name: string } }[]).map((item) => item.metadata.name);
  const metadata = (answer: Answer) =>
    answer.object.metadata as { resourceVersion: string; continue?: string; remainingItemCount?: number };
  const first = await api.send('GET', `${NODE_MAINTENANCES}?limit=2`);
  assert.equal(first.object.kind, 'NodeMaintenanceList');
  assert.deepEqual(names(first), ['nm-0', 'nm-1']);
  assert.equal(metadata(first).remainingItemCount, 3);
  await api.send('DELETE', `${NODE_MAINTENANCES}/nm-4`);
  const second = await api.send('GET', `${NODE_MAINTENANCES}?limit=2&continue=${metadata(first).continue}`);
  assert.deepEqual(names(second), ['nm-2', 'nm-3']);
  assert.equal(metadata(second).resourceVersion, metadata(first).resourceVersion);
  const third = await api.send('GET', `${NODE_MAINTENANCES}?limit=2&continue=${metadata(second).continue}`);
  assert.deepEqual(names(third), ['nm-4'], 'all pages show the moment of the first');
  assert.equal(metadata(third).continue, '');
  const exact = `resourceVersionMatch=Exact&resourceVersion=${metadata(first).resourceVersion}`;
  const at = await api.send('GET', `${NODE_MAINTENANCES}?${exact}`);
  assert.equal(names(at).length, 5);
  const lost = Buffer.from('{"v":1,"rv":1,"after":"nm-1"}').toString('base64url');
  const gone = await api.send('GET', `${NODE_MAINTENANCES}?limit=2&continue=${lost}`);
  assert.equal(gone.code, 410);
  const goOn = (gone.status.metadata as { continue: string }).continue;
  assert.deepEqual(names(await api.send('GET', `${NODE_MAINTENANCES}?continue=${goOn}`)), ['nm-2', 'nm-3']);
  const select = async (query: string) => names(await api.send('GET', `${NODE_MAINTENANCES}?${query}`));
  assert.deepEqual(await select('labelSelector=even%3Dtrue'), ['nm-0', 'nm-2']);
  assert.deepEqual(await select('labelSelector=even+notin+(true),!x'), ['nm-1', 'nm-3']);
  assert.deepEqual(await select('fieldSelector=metadata.name%3Dnm-3'), ['nm-3']);
  assert.deepEqual(await select('fieldSelector=spec.nodeName%3Dn2'), ['nm-2']);
  assert.deepEqual(await select('fieldSelector=spec.nodeName!%3Dn2'), ['nm-0', 'nm-1', 'nm-3']);
  assert.deepEqual(await select('fieldSelector=metadata.name!%3Dnm-3&labelSelector=even!%3Dtrue'), ['nm-1']);
  const refused: [string, number][] = [
    ['labelSelector=a+b', 400],
    ['fieldSelector=spec.x%3D1', 400],
    ['fieldSelector=spec.services%3D1', 400],
    ['limit=x', 400],
    ['resourceVersion=x', 400],
    ['continue=zzz', 400],
    ['resourceVersion=999999', 504],
    ['resourceVersionMatch=Exact', 422],
    ['resourceVersion=1&resourceVersionMatch=Exact', 410],
    ['sendInitialEvents=true', 422],
  ];
  for (const [query, code] of refused)
    assert.equal((await api.send('GET', `${NODE_MAINTENANCES}?${query}`)).code, code, query);
});

test('deletecollection deletes what the selectors say and lists it', async () => {
  const before = await api.send('GET', `${NODE_MAINTENANCES}?labelSelector=even%3Dtrue`);
  assert.ok((before.object['items'] as unknown[]).length > 0);
  const { code, object } = await api.send('DELETE', `${NODE_MAINTENANCES}?labelSelector=even%3Dtrue`);
  assert.equal(code, 200);
  assert.equal((object['items'] as unknown[]).length, (before.object['items'] as unknown[]).length);
  const rest = await api.send('GET', NODE_MAINTENANCES);
  assert.ok(
    (rest.object['items'] as { metadata: { labels: { even: string } } }[]).every(
      (item) => item.metadata.labels.even === 'false',
    ),
  );
});

test('a Table has the columns of the kind and what get -w and paging need', async () => {
  await api.send('POST', ROUTERS, {
    body: router('table-1', { metadata: { annotations: { 'edge.example.com/origin': 'far' } } }),
  });
  await api.send('PATCH', `${ROUTERS}/table-1/status`, {
    body: {
      status: {
        conditions: [
          { type: 'Synced', status: 'False' },
          { type: 'Ready', status: 'True' },
        ],
      },
    },
    type: MERGE,
  });
  const { object, headers } = await api.send('GET', `${ROUTERS}/table-1?includeObject=Object`, {
    headers: { accept: TABLE },
  });
  assert.equal(headers.get('content-type'), 'application/json');
  assert.equal(object.kind, 'Table');
  const columns = (object['columnDefinitions'] as { name: string; priority: number }[]).map(
    ({ name, priority }) => `${name}/${priority}`,
  );
  assert.deepEqual(columns, [
    'Name/0',
    'Ready/0',
    'Address/0',
    'Port/0',
    'Origin/0',
    'Synced/0',
    'Services/1',
    'Version/1',
    'Age/0',
  ]);
  const [row] = object['rows'] as { cells: unknown[]; object: { kind: string } }[];
  assert.deepEqual(row?.cells.slice(0, 8), ['table-1', 'True', null, 7000, 'far', 'False', null, null]);
  assert.match(String(row?.cells[8]), /^\d+s$/u);
  assert.equal(row?.object.kind, 'Router');
  const list = await api.send('GET', `${ROUTERS}?limit=1`, { headers: { accept: TABLE } });
  const metadata = list.object.metadata as { resourceVersion: string; continue: string };
  assert.equal(metadata.resourceVersion, String(api.store.revision));
  assert.ok(metadata.continue.length > 0);
});

test('metadata-only and YAML answers follow Accept; what cannot be made is 406', async () => {
  const partial =
    'application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io';
  const one = await api.send('GET', `${ROUTERS}/table-1`, { headers: { accept: partial } });
  assert.equal(one.object.kind, 'PartialObjectMetadata');
  assert.equal(one.object.spec, undefined);
  assert.equal((await api.send('GET', ROUTERS, { headers: { accept: partial } })).code, 406);
  const list = await api.send('GET', ROUTERS, {
    headers: { accept: 'application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io' },
  });
  assert.equal(list.object.kind, 'PartialObjectMetadataList');
  const yaml = await api.send('GET', `${ROUTERS}/table-1`, { headers: { accept: 'application/yaml' } });
  assert.match(yaml.text, /^apiVersion: edge\.example\.com\/v1$/mu);
  assert.equal(
    (await api.send('GET', ROUTERS, { headers: { accept: 'application/vnd.kubernetes.protobuf' } })).code,
    406,
  );
  assert.equal(
    (await api.send('GET', ROUTERS, { headers: { accept: 'application/cbor, */*' } })).object.kind,
    'RouterList',
  );
});

test('bodies and objects over the limit are 413', async () => {
  const body = router('big-1', { spec: { frps: { bindPort: 1 }, x: 'y'.repeat(3 * 1024 * 1024) } });
  const { code, status } = await api.send('POST', ROUTERS, { body });
  assert.equal(code, 413);
  assert.equal(status.message, 'Request entity too large: limit is 3145728');
  const annotations = { a: 'x'.repeat(262_145) };
  const long = await api.send('POST', ROUTERS, { body: router('big-2', { metadata: { annotations } }) });
  assert.deepEqual(causes(long), ['metadata.annotations: Too long: may not be more than 262144 bytes']);
  assert.equal(
    (
      await api.send('POST', ROUTERS, {
        body: router('big-3', { metadata: { annotations: { a: 'x'.repeat(200_000) } } }),
      })
    ).code,
    201,
  );
});

test('every unknown path, resource and method is a Status', async () => {
  const cases: [string, string, number][] = [
    ['GET', '/nowhere', 404],
    ['GET', '/apis/edge.example.com/v2/routers', 404],
    ['GET', '/apis/edge.example.com/v1/things', 404],
    ['GET', '/apis/other.example.com/v1/routers', 404],
    ['GET', '/apis/other.example.com', 404],
    ['POST', `${ROUTERS}/x`, 405],
    ['PUT', ROUTERS, 405],
    ['OPTIONS', ROUTERS, 405],
    ['POST', '/version', 404],
  ];
  for (const [method, path, code] of cases) {
    const answer = await api.send(method, path);
    assert.equal(answer.code, code, `${method} ${path}`);
    assert.equal(answer.status.kind, 'Status');
    assert.equal(answer.status.code, code);
    assert.match(answer.headers.get('content-type') ?? '', /^application\/json/u);
  }
  assert.equal((await api.send('GET', `${ROUTERS}/`)).code, 200, 'a trailing slash is tolerated');
  assert.equal((await api.send('HEAD', ROUTERS)).text, '');
});

test('discovery comes plain and aggregated, with ETag and 304', async () => {
  const accept = (v: string) =>
    `application/json;g=apidiscovery.k8s.io;v=${v};as=APIGroupDiscoveryList,application/json`;
  for (const v of ['v2', 'v2beta1']) {
    const { headers, object } = await api.send('GET', '/apis', { headers: { accept: accept(v) } });
    assert.equal(
      headers.get('content-type'),
      `application/json;g=apidiscovery.k8s.io;v=${v};as=APIGroupDiscoveryList`,
    );
    assert.equal(object.apiVersion, `apidiscovery.k8s.io/${v}`);
    const again = await api.send('GET', '/apis', {
      headers: { accept: accept(v), 'if-none-match': headers.get('etag') ?? '' },
    });
    assert.equal(again.code, 304);
  }
  const only = 'application/json;g=apidiscovery.k8s.io;v=v9;as=APIGroupDiscoveryList';
  assert.equal((await api.send('GET', '/apis', { headers: { accept: only } })).code, 406);
  const plain = await api.send('GET', '/apis/edge.example.com/v1');
  const names = (plain.object['resources'] as { name: string }[]).map(({ name }) => name);
  assert.deepEqual(names, ['nodemaintenances', 'nodemaintenances/status', 'routers', 'routers/status']);
  assert.equal((await api.send('GET', '/api')).object.kind, 'APIVersions');
  assert.match(
    String((await api.send('GET', '/version')).object['gitVersion']),
    /^v1\.33\.0-edge\.\d+\.\d+\.\d+/u,
  );
});

test('OpenAPI v3 has what explain reads; v2 in protobuf has the definitions', async () => {
  const index = await api.send('GET', '/openapi/v3');
  const paths = index.object['paths'] as Record<string, { serverRelativeURL: string }>;
  const url = paths['apis/edge.example.com/v1']?.serverRelativeURL ?? '';
  assert.match(url, /^\/openapi\/v3\/apis\/edge\.example\.com\/v1\?hash=[0-9A-F]+$/u);
  const { object } = await api.send('GET', url);
  assert.equal(object['openapi'], '3.0.0');
  const schemas = (object['components'] as { schemas: Record<string, Record<string, unknown>> }).schemas;
  assert.deepEqual(schemas['com.example.edge.v1.Router']?.['x-kubernetes-group-version-kind'], [
    { group: 'edge.example.com', version: 'v1', kind: 'Router' },
  ]);
  const protobuf = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';
  const v2 = await api.send('GET', '/openapi/v2', { headers: { accept: protobuf } });
  assert.equal(v2.headers.get('content-type'), 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf');
  assert.ok(v2.text.startsWith('\n\u00032.0'), 'field 1, the version');
  assert.match(v2.text, /com\.example\.edge\.v1\.NodeMaintenance[^]*How the node is reached\./u);
});

test('the CRDs can be read and not written', async () => {
  const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  assert.equal((await api.send('GET', crds)).object.kind, 'CustomResourceDefinitionList');
  assert.equal(
    (await api.send('GET', `${crds}/routers.edge.example.com`)).object.metadata.name,
    'routers.edge.example.com',
  );
  assert.equal((await api.send('DELETE', `${crds}/routers.edge.example.com`)).code, 405);
  assert.equal((await api.send('GET', `${crds}/x`)).code, 404);
});

test('without credentials only health and version answer', async () => {
  for (const path of ['/healthz', '/livez', '/readyz', '/version']) {
    assert.equal((await api.send('GET', path, { transport: 'https' })).code, 200);
  }
  for (const path of ['/api', '/apis', ROUTERS, '/openapi/v3', '/nowhere']) {
    const { code, status } = await api.send('GET', path, { transport: 'https' });
    assert.equal(code, 401, path);
    assert.equal(status.message, 'Unauthorized');
  }
  assert.equal(
    (await api.send('GET', ROUTERS, { transport: 'https', headers: { authorization: 'Bearer wrong' } })).code,
    401,
  );
});

test('each role writes what it may and nothing else', async () => {
  const mirror = (name: string) =>
    router(name, { metadata: { annotations: { 'edge.example.com/origin': name } } });
  const nm = (name: string) => ({
    apiVersion: 'edge.example.com/v1',
    kind: 'NodeMaintenance',
    metadata: { name },
    spec: { nodeName: 'n' },
  });
  for (const body of [router('node-1'), router('plain-1'), mirror('mirror-1')]) {
    assert.equal((await api.send('POST', ROUTERS, { body })).code, 201);
  }
  const status = { status: { version: '1' } };
  const label = { metadata: { labels: { x: 'y' } } };
  const cases: [string, string, string, unknown, number][] = [
    ['tok-sidecar', 'GET', ROUTERS, undefined, 200],
    ['tok-sidecar', 'POST', ROUTERS, router('z'), 403],
    ['tok-sidecar', 'PATCH', `${ROUTERS}/node-1/status`, status, 403],
    ['tok-router', 'PATCH', `${ROUTERS}/node-1/status`, status, 200],
    ['tok-router', 'PATCH', `${ROUTERS}/plain-1/status`, status, 403],
    ['tok-router', 'PATCH', `${ROUTERS}/node-1`, label, 403],
    ['tok-router', 'POST', NODE_MAINTENANCES, nm('role-1'), 201],
    ['tok-router', 'DELETE', NODE_MAINTENANCES, undefined, 200],
    ['tok-syncer', 'POST', ROUTERS, mirror('mirror-2'), 201],
    ['tok-syncer', 'POST', ROUTERS, router('plain-2'), 403],
    ['tok-syncer', 'PATCH', `${ROUTERS}/mirror-1/status`, status, 200],
    [
      'tok-syncer',
      'PATCH',
      `${ROUTERS}/plain-1`,
      { metadata: { annotations: { 'edge.example.com/origin': 'x' } } },
      403,
    ],
    [
      'tok-syncer',
      'PATCH',
      `${ROUTERS}/node-1`,
      { metadata: { annotations: { 'edge.example.com/origin': 'x' } } },
      403,
    ],
    ['tok-syncer', 'PATCH', `${ROUTERS}/mirror-1`, { metadata: { annotations: null } }, 403],
    ['tok-syncer', 'DELETE', `${ROUTERS}/plain-1`, undefined, 403],
    ['tok-syncer', 'DELETE', `${ROUTERS}/mirror-2`, undefined, 200],
    ['tok-syncer', 'DELETE', ROUTERS, undefined, 403],
    ['tok-syncer', 'POST', NODE_MAINTENANCES, nm('role-2'), 403],
    ['tok-cloud', 'PATCH', `${ROUTERS}/node-1`, label, 200],
    ['tok-cloud', 'PATCH', `${ROUTERS}/node-1/status`, status, 403],
    ['tok-cloud', 'POST', NODE_MAINTENANCES, nm('role-3'), 201],
    ['tok-none', 'GET', '/apis', undefined, 200],
    ['tok-none', 'GET', ROUTERS, undefined, 403],
  ];
  for (const [token, method, path, body, code] of cases) {
    const type = method === 'PATCH' ? MERGE : 'application/json';
    const answer = await api.send(method, path, {
      ...(body === undefined ? {} : { body }),
      type,
      ...bearer(token),
    });
    assert.equal(answer.code, code, `${token} ${method} ${path}: ${answer.text}`);
  }
  const { status: refusal } = await api.send('DELETE', `${ROUTERS}/node-1`, bearer('tok-sidecar'));
  assert.equal(
    refusal.message,
    'routers.edge.example.com "node-1" is forbidden: User "side" cannot delete resource "routers" in API group "edge.example.com" at the cluster scope',
  );
  assert.equal((await api.send('GET', ROUTERS, { transport: 'socket' })).code, 200);
  assert.equal((await api.send('DELETE', `${ROUTERS}/node-1`, { transport: 'socket' })).code, 403);
});

test('self reviews answer JSON and protobuf', async () => {
  const review = (resourceAttributes: unknown, token: string) =>
    api.send('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
      body: {
        kind: 'SelfSubjectAccessReview',
        apiVersion: 'authorization.k8s.io/v1',
        spec: { resourceAttributes },
      },
      ...bearer(token),
    });
  const allowed = (answer: Answer) => (answer.object.status as { allowed: boolean }).allowed;
  const group = 'edge.example.com';
  assert.equal(
    allowed(await review({ verb: 'list', group, resource: 'routers', namespace: 'default' }, 'tok-sidecar')),
    true,
  );
  assert.equal(allowed(await review({ verb: 'delete', group, resource: 'routers' }, 'tok-sidecar')), false);
  assert.equal(
    allowed(
      await review(
        { verb: 'patch', group, resource: 'routers', subresource: 'status', name: 'node-1' },
        'tok-router',
      ),
    ),
    true,
  );
  const field = (number: number, value: Buffer | string) => {
    const bytes = Buffer.from(value as string);
    return Buffer.concat([Buffer.from([number * 8 + 2, bytes.length]), bytes]);
  };
  const attributes = Buffer.concat([field(2, 'delete'), field(3, group), field(5, 'routers')]);
  const message = field(2, field(1, attributes));
  const type = Buffer.concat([field(1, 'authorization.k8s.io/v1'), field(2, 'SelfSubjectAccessReview')]);
  const raw = Uint8Array.from(Buffer.concat([Buffer.from('k8s\0'), field(1, type), field(2, message)]));
  const binary = await api.send('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
    raw,
    type: 'application/vnd.kubernetes.protobuf',
    ...bearer('tok-cloud'),
  });
  assert.equal(binary.code, 201);
  assert.equal(allowed(binary), true);
  const cut = await api.send('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
    raw: raw.slice(0, 20),
    type: 'application/vnd.kubernetes.protobuf',
  });
  assert.equal(cut.code, 400);
  const me = await api.send('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {
    body: {},
    ...bearer('tok-cloud'),
  });
  assert.deepEqual((me.object.status as { userInfo: unknown }).userInfo, {
    username: 'cloud',
    uid: 'u1',
    groups: ['cloud', 'other', 'system:authenticated'],
  });
  const rules = await api.send('POST', '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', {
    body: { spec: { namespace: 'default' } },
    ...bearer('tok-router'),
  });
  const { resourceRules } = rules.object.status as { resourceRules: { resourceNames?: string[] }[] };
  assert.ok(resourceRules.some((rule) => rule.resourceNames?.[0] === 'node-1'));
  const mayGet = async (path: string): Promise<unknown> => {
    const body = { spec: { nonResourceAttributes: { path, verb: 'get' } } };
    const url = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
    const { object } = await api.send('POST', url, { body, ...bearer('tok-router') });
    return (object.status as { allowed: boolean }).allowed;
  };
  for (const path of ['/api', '/api/v1', '/apis/edge.example.com', '/openapi/v3', '/version'])
    assert.equal(await mayGet(path), true, path);
  for (const path of ['/metrics', '/debug/pprof']) assert.equal(await mayGet(path), false, path);
});
