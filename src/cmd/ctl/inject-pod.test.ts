/** Tests of what is added to which manifests, and that adding it twice is adding it once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../../lib/errors.ts';
import { parseYaml, parseYamlDocuments } from '../../lib/yaml.ts';
import { editYamlDocuments } from '../../lib/yaml-edit.ts';
import { injectionChanges } from './inject-pod.ts';
import type { Injection } from './inject-pod.ts';

const INJECTION: Injection = {
  image: 'edge:1',
  mapped: 'mysql:3306',
  exported: undefined,
  secret: 'edge',
  dnsUpstream: '10.96.0.10',
  namespace: 'default',
  clusterDomain: 'cluster.local',
  socket: '/run/edge/apiserver.sock',
};

function inject(text: string, changed: Partial<Injection> = {}): string {
  return editYamlDocuments(text, 'f.yaml', (value, number) =>
    injectionChanges(value, { ...INJECTION, ...changed }, `f.yaml: document ${number}`),
  );
}

interface Named {
  name: string;
  image?: string;
  restartPolicy?: string;
  env?: { name: string; value?: string }[];
}
interface PodSpec {
  containers: Named[];
  initContainers?: Named[];
  volumes?: Named[];
  dnsPolicy?: string;
  dnsConfig?: { nameservers: string[]; searches?: string[]; options?: unknown[] };
}

const POD = `apiVersion: v1
kind: Pod # the application
metadata:
  name: app
  namespace: shop
spec:
  containers:
  - name: app
    image: app:1
`;

const specOf = (text: string): PodSpec => (parseYaml(text, 'out') as { spec: PodSpec }).spec;
const namesOf = (list: readonly Named[] | undefined): string[] => (list ?? []).map(({ name }) => name);

test('a pod gets the sidecar, its volumes and its resolver; what was there stays as it was written', () => {
  const out = inject(POD);
  assert.ok(out.startsWith(POD), out);
  const { containers, volumes, dnsPolicy, dnsConfig } = specOf(out);
  assert.deepEqual(namesOf(containers), ['app', 'edge-sidecar']);
  assert.deepEqual(namesOf(volumes), ['edge-sidecar-api', 'edge-sidecar-data', 'edge-sidecar-secret']);
  assert.equal(dnsPolicy, 'None');
  assert.deepEqual(dnsConfig, {
    nameservers: ['127.0.0.2'],
    searches: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
    options: [{ name: 'ndots', value: '5' }],
  });
  const values = new Map(containers[1]?.env?.map(({ name, value }) => [name, value]));
  assert.equal(values.get('EDGE_SERVER'), 'unix:///run/edge/apiserver.sock');
  assert.equal(values.get('SIDECAR_MAPPED_SERVICES'), 'mysql:3306');
  assert.equal(values.get('SIDECAR_DNS_UPSTREAM'), '10.96.0.10');
  assert.equal(values.get('SIDECAR_SECRET_KEY_FILE'), '/etc/edge/secret-key');
  assert.ok(values.has('POD_NAME') && values.has('POD_NAMESPACE') && values.has('EDGE_NODE_NAME'));
});

test('a second injection changes nothing, one with other settings replaces what the first added', () => {
  const once = inject(POD);
  assert.equal(inject(once), once);
  const other = specOf(inject(once, { image: 'edge:2', secret: undefined }));
  assert.deepEqual(namesOf(other.containers), ['app', 'edge-sidecar']);
  assert.equal(other.containers[1]?.image, 'edge:2');
  assert.deepEqual(namesOf(other.volumes), ['edge-sidecar-api', 'edge-sidecar-data']);
});

test('what has a similar name and is not ours stays', () => {
  const out = inject(`${POD}  - name: edge-sidecar-proxy\n`);
  assert.deepEqual(namesOf(specOf(out).containers), ['app', 'edge-sidecar-proxy', 'edge-sidecar']);
});

test('a pod that only publishes keeps its DNS, and the sidecar answers none', () => {
  const changed = { mapped: undefined, exported: 'web=8080', dnsUpstream: undefined };
  const { dnsPolicy, dnsConfig, containers } = specOf(inject(POD, changed));
  assert.equal(dnsPolicy, undefined);
  assert.equal(dnsConfig, undefined);
  assert.equal(containers[1]?.env?.find(({ name }) => name === 'SIDECAR_DNS_ADDR')?.value, 'off');
});

test('a resolver that an earlier injection set is not left without an upstream', () => {
  const changed = { mapped: undefined, exported: 'web=8080' };
  assert.throws(
    () => inject(inject(POD), { ...changed, dnsUpstream: undefined }),
    /only nameserver is the sidecar/u,
  );
  const { containers } = specOf(inject(inject(POD), changed));
  assert.ok(containers[1]?.env?.every(({ name }) => name !== 'SIDECAR_DNS_ADDR'));
});

test('search lists and options of the pod stay, also where it had a policy of its own', () => {
  const added = '  dnsConfig: { searches: [corp.example], options: [{ name: ndots, value: "2" }] }\n';
  assert.deepEqual(specOf(inject(POD + added)).dnsConfig, {
    nameservers: ['127.0.0.2'],
    searches: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local', 'corp.example'],
    options: [{ name: 'ndots', value: '2' }],
  });
  const own = '  dnsPolicy: None\n  dnsConfig: { nameservers: [192.0.2.1], searches: [corp.example] }\n';
  assert.deepEqual(specOf(inject(POD + own)).dnsConfig, {
    nameservers: ['127.0.0.2'],
    searches: ['corp.example'],
  });
});

for (const kind of ['Deployment', 'StatefulSet', 'DaemonSet', 'ReplicaSet']) {
  test(`a ${kind} gets it in its template`, () => {
    const out = inject(
      `apiVersion: apps/v1\nkind: ${kind}\nspec: { template: { spec: { containers: [{ name: a }] } } }\n`,
    );
    const { spec } = parseYaml(out, 'out') as { spec: { template: { spec: PodSpec } } };
    assert.deepEqual(namesOf(spec.template.spec.containers), ['a', 'edge-sidecar']);
  });
}

test('jobs get it as an init container that stays, before the others, since they would never end otherwise', () => {
  const template =
    'template: { spec: { initContainers: [{ name: i }], containers: [{ name: a }], volumes: [] } }';
  const job = inject(`apiVersion: batch/v1\nkind: Job\nspec: { ${template} }\n`);
  const cron = inject(
    `apiVersion: batch/v1\nkind: CronJob\nspec: { jobTemplate: { spec: { ${template} } } }\n`,
  );
  const inJob = (parseYaml(job, 'out') as { spec: { template: { spec: PodSpec } } }).spec;
  const inCron = (parseYaml(cron, 'out') as { spec: { jobTemplate: { spec: typeof inJob } } }).spec;
  for (const { spec } of [inJob.template, inCron.jobTemplate.spec.template]) {
    assert.deepEqual(namesOf(spec.initContainers), ['edge-sidecar', 'i']);
    assert.equal(spec.initContainers?.[0]?.restartPolicy, 'Always');
    assert.deepEqual(namesOf(spec.containers), ['a']);
  }
  assert.equal(inject(job), job);
  assert.equal(inject(cron), cron);
});

test('lists are looked through, documents of other kinds and empty ones are not touched', () => {
  const other = 'kind:   Service   # mine\napiVersion: v1\n---\n';
  const list = `---
apiVersion: v1
kind: List
items:
  - { apiVersion: v1, kind: ConfigMap, data: { mode: 0644 } }
  - { apiVersion: v1, kind: Pod, spec: { containers: [{ name: a }] } }
`;
  const out = inject(other + list);
  assert.ok(out.startsWith(other), out);
  assert.match(out, /mode: 0644/u);
  const [, read] = parseYamlDocuments(out, 'out') as { items: { spec: PodSpec }[] }[];
  assert.deepEqual(namesOf(read?.items[1]?.spec.containers), ['a', 'edge-sidecar']);
});

const WRONG: [text: string, message: RegExp][] = [
  ['a: 1\n', /^f\.yaml: document 1: no manifest/u],
  ['- a\n', /^f\.yaml: document 1: wanted an object/u],
  [
    `${POD}---\napiVersion: v1\nkind: Pod\nmetadata: { name: x }\n`,
    /^f\.yaml: document 2: Pod x: spec\.containers is missing or empty/u,
  ],
  [`${POD}  hostNetwork: true\n`, /^f\.yaml: document 1: Pod app: hostNetwork is set/u],
  ['apiVersion: v1\nkind: List\nitems: [1]\n', /^f\.yaml: document 1, item 1: wanted an object/u],
];
for (const [text, message] of WRONG) {
  test(`refused: ${message.source}`, () => {
    assert.throws(
      () => inject(text),
      (err) => err instanceof UsageError && message.test(err.message),
    );
  });
}
