/** Verbs of `edge ctl` beside kubectl: the same commands in the same order, each against a server of its own. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { runEdge, startEdgeReady } from '../support/edge-process.ts';
import { findKubectls } from '../support/kubectls.ts';
import { runProcess } from '../support/processes.ts';
import type { ProcessResult } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

const router = (name: string, port: number, labels: string): string =>
  `apiVersion: edge.example.com/v1\nkind: Router\nmetadata: {name: ${name}, labels: ${labels}}\nspec: {frps: {bindPort: ${port}}}\n`;

/** Files of the working directory. */
const FILES: Readonly<Record<string, string>> = {
  'all.yaml': [
    router('node-1', 7000, '{zone: a}'),
    router('node-2', 7001, '{}'),
    'apiVersion: edge.example.com/v1\nkind: NodeMaintenance\nmetadata: {name: nm-1}\nspec: {nodeName: node-1}\n',
  ].join('---\n'),
  'one.yaml': router('node-1', 7000, '{zone: a}'),
  'new.yaml': router('new', 7000, '{}'),
  'changed.yaml': [router('new', 7009, '{}'), router('node-2', 7009, '{}')].join('---\n'),
  'mixed.yaml': [router('new', 7000, '{}'), router('gone', 7000, '{}')].join('---\n'),
  'stale.yaml': router('new', 7000, '{}').replace('name: new', 'name: new, resourceVersion: "1"'),
  'bad.yaml': router('bad', 70_000, '{}'),
  'unknown.yaml': router('unknown', 7000, '{}').replace('}}', '}, bogus: 1}'),
  'pod.yaml': 'apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n',
};

/** A program with a server to itself. */
type Side = (args: readonly string[]) => Promise<ProcessResult>;

async function startSide(t: TestContext, kubectl: string | undefined): Promise<Side> {
  const dir = tempDir(t);
  await startEdgeReady(t, ['apiserver', '--data-dir', dir, '--listen', '127.0.0.1:0', '--node', 'node-1']);
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(dir, name), text);
  const env = { KUBECONFIG: join(dir, 'admin.kubeconfig'), HOME: dir };
  return (args) =>
    kubectl === undefined
      ? runEdge(['ctl', ...args], { env, cwd: dir })
      : runProcess(kubectl, args, { env, cwd: dir });
}

/** Starts both sides with the objects of all.yaml; undefined, and the test skipped, where there is no kubectl. */
async function startBoth(t: TestContext): Promise<{ theirs: Side; ours: Side } | undefined> {
  const kubectl = (await findKubectls()).at(-1);
  if (kubectl === undefined) {
    if (process.env['CI'] === 'true') throw new Error('missing program: kubectl');
    t.skip('missing program: kubectl');
    return undefined;
  }
  const [theirs, ours] = [await startSide(t, kubectl.path), await startSide(t, undefined)];
  for (const side of [theirs, ours]) assert.equal((await side(['apply', '-f', 'all.yaml'])).status, 0);
  return { theirs, ours };
}

/** Lines of one stream without what differs between two programs and servers: times, ids, names, hints. */
function comparable(text: string, isOrdered: boolean): string[] {
  const lines = text
    .replaceAll(/"20\d\d-[^"]*Z"/gu, 'TIME')
    .replaceAll(/[0-9a-f]{8}-[0-9a-f-]{27}/gu, 'UID')
    .split('\n')
    .map((line) => line.replaceAll('edge ctl', 'kubectl'))
    .filter((line) => !/^hint: |^See 'kubectl|^ensure CRDs|is not namespace scoped/u.test(line));
  return isOrdered ? lines : lines.filter((line) => line !== '').sort();
}

/** Runs commands, split at blanks, on both sides and compares output and exit status. */
async function compareAll(
  sides: { theirs: Side; ours: Side },
  commands: readonly (string | readonly string[])[],
): Promise<void> {
  for (const command of commands) {
    const args = typeof command === 'string' ? command.split(' ') : command;
    const [theirs, ours] = await Promise.all([sides.theirs(args), sides.ours(args)]);
    const isOrdered = !args.includes('--list');
    const what = args.join(' ');
    assert.deepEqual(comparable(ours.stdout, isOrdered), comparable(theirs.stdout, isOrdered), what);
    assert.deepEqual(comparable(ours.stderr, false), comparable(theirs.stderr, false), what);
    assert.equal(ours.status, theirs.status, what);
  }
}

const LABEL: readonly (string | readonly string[])[] = [
  'rt node-1 x=y',
  'rt node-1 x=y',
  'rt node-1 x=z',
  'rt node-1 x=z zone=b',
  'rt node-1 nope x=z',
  'rt node-1 node-2 x=z zone=b',
  'rt node-1 x=z --overwrite',
  'rt node-1 w-',
  'rt node-2 w-',
  'rt node-1 x- n=1',
  'rt node-1 n-',
  'rt node-1 long=1',
  'rt node-1 long- y=1',
  'rt node-1 y- --overwrite',
  'rt node-1 n=1 n-',
  'rt node-1 =b',
  'rt node-1',
  'rt',
  '',
  'rt n=1',
  'n=1 rt node-1',
  'rt --all n=1',
  'rt --all n=2 --overwrite',
  'rt,nm --all n=3 --overwrite',
  'rt -l zone=a n=4 --overwrite',
  'rt -l zone=none n=4',
  'rt node-1 -l zone=a n=5',
  'rt --all -l zone=a n=5',
  'rt --all --field-selector metadata.name=node-1 n=5',
  'rt --field-selector metadata.name=node-2 h=1',
  'rt node-1 n=6 --overwrite --resource-version=1',
  'rt --all n=6 --overwrite --resource-version=1',
  '-f one.yaml n=6 --overwrite --resource-version=1',
  'rt/node-1 nm/nm-1 n=7 --overwrite',
  'rt nope nope2 n=1',
  'pods x n=1',
  ['rt', 'node-1', 'n=a b'],
  'rt node-1 -- -n=a',
  'rt node-1 a/b/c=1',
  'rt node-2 node-1 bad!=1',
  'rt node-1 x=a=b',
  'rt node-1 d=1 --dry-run=client',
  'rt node-1 d=1 --dry-run=server',
  'rt node-1 zone- nope- --dry-run=client',
  'rt node-1 zone- nope- --dry-run=server',
  'rt node-1 d=1 --dry-run=foo',
  'rt node-1 --list',
  'rt --all --list',
  'rt --list',
  'rt node-1 e=1 --list',
  'rt node-1 --list -o name',
  'rt/node-1 e=1 -o name',
  'rt --all -o jsonpath={.metadata.labels.e} e=2 --overwrite',
  'rt node-1 e=3 --overwrite --dry-run=client -o yaml',
  '-f all.yaml g=1',
  '-f all.yaml --list',
  '-f all.yaml --local zone=q',
  '-f all.yaml --local zone=q --overwrite -o jsonpath={.metadata.labels}',
  '-f all.yaml --local --dry-run=server a=1',
  'rt node-1 --local g=1',
  '--local g=1',
  '-f nope.yaml g=1',
  'rt -f all.yaml g=1',
  'rt/node-1 x=1 y',
];

test('label does, says and ends as kubectl does', async (t) => {
  const sides = await startBoth(t);
  if (sides === undefined) return;
  const commands = LABEL.map((each) =>
    typeof each === 'string' ? `label ${each}`.trim() : ['label', ...each],
  );
  await compareAll(sides, [
    ...commands,
    'get rt,nm -o jsonpath={.items[*].metadata.labels}',
    'get rt node-1 -o jsonpath={.metadata.managedFields[*].manager} --show-managed-fields',
  ]);
});

const ANNOTATE: readonly (string | readonly string[])[] = [
  'rt node-1 a=b',
  'rt node-1 a=b',
  'rt node-1 a=c b=c',
  'rt --all a=d',
  'rt --all a=d b=c',
  'rt --all a=e --overwrite',
  'rt node-1 a-',
  'rt node-1 a-',
  ['rt', 'node-1', 'a=x=y z'],
  'rt node-1 a= --overwrite',
  'rt node-1 a=1 a- b=1 b-',
  'rt node-1',
  '',
  'rt a=1',
  'nm nm-1 a=5 --list',
  'rt --all --list -o name',
  ['rt', 'node-1', 'bad key=1'],
  'rt node-1 a=1 --overwrite --resource-version=1',
  'rt --all a=1 --overwrite --resource-version=1',
  'rt --all -l zone=a a=6',
  'rt node-1 a- --dry-run=server',
  'rt node-1 nope a=8 --overwrite',
  'rt/node-1 nm/nm-1 a=9 --overwrite -o name',
  '-f all.yaml q=1',
  '-f all.yaml --local q=1 -o name',
  'rt node-1 --local q=1',
  'rt node-1 q=2 r',
  'all --all zz=2',
  'rt node-1 -o jsonpath={.metadata.annotations.q} q=2 --overwrite --field-manager=me',
];

test('annotate does, says and ends as kubectl does', async (t) => {
  const sides = await startBoth(t);
  if (sides === undefined) return;
  const commands = ANNOTATE.map((each) =>
    typeof each === 'string' ? `annotate ${each}`.trim() : ['annotate', ...each],
  );
  await compareAll(sides, [
    ...commands,
    'get rt,nm -o jsonpath={.items[*].metadata.annotations.a},{.items[*].metadata.annotations.q}',
    'get rt node-1 -o jsonpath={.metadata.managedFields[*].manager} --show-managed-fields',
  ]);
});

const EXPLAIN: readonly string[] = [
  'routers',
  'nm',
  'rt.',
  'Router',
  'routers.edge.example.com.spec',
  'rt.spec.frps',
  'rt.spec.frps.bindPort',
  'rt.spec.frps.allowPorts',
  'rt.status.conditions',
  'rt.spec.loadBalancing.policy',
  'rt.metadata',
  'rt.metadata.labels',
  'rt.metadata.managedFields',
  'rt.spec.frps.transport.tls --recursive',
  'rt --recursive',
  'nm --recursive',
  'rt --recursive=false --api-version=edge.example.com/v1',
  'rt.nope',
  'rt.spec.frps.bindPort.x',
  'rt.metadata.labels.x',
  'rt..spec',
  'rt.spec[*]',
  'rt/node-1',
  'pods',
  'all',
  '',
  'rt nm',
  'rt --output=json',
  'rt --api-version=edge.example.com/v2',
];

test('explain says what kubectl says', async (t) => {
  const sides = await startBoth(t);
  if (sides === undefined) return;
  await compareAll(
    sides,
    EXPLAIN.map((each) => `explain ${each}`.trim()),
  );
});

const WRITES: readonly string[] = [
  'create -f new.yaml --dry-run=client',
  'create -f new.yaml --dry-run=client -o yaml',
  'create -f new.yaml --dry-run=server',
  'create -f new.yaml --dry-run=nope',
  'create -f new.yaml --save-config',
  'get rt new -o jsonpath={.metadata.annotations}',
  'create -f new.yaml',
  'create -f mixed.yaml',
  'create -f new.yaml extra',
  'create -f nope.yaml',
  'create -f bad.yaml',
  'create -f pod.yaml',
  'create -f unknown.yaml',
  'create -f unknown.yaml --validate=warn -o name',
  'replace -f changed.yaml',
  'replace -f changed.yaml --dry-run=client',
  'replace -f changed.yaml --dry-run=server -o jsonpath={.spec.frps.bindPort}',
  'replace -f stale.yaml',
  'replace -f bad.yaml',
  'replace -f pod.yaml',
  'replace -f unknown.yaml',
  'delete rt gone --wait=true',
  'replace -f mixed.yaml',
  'replace --force -f new.yaml',
  'replace --force -f mixed.yaml --grace-period=0 --timeout=10s',
  'replace --force -f new.yaml --dry-run=server',
  'replace -f new.yaml --grace-period=0',
  'replace -f new.yaml --timeout=1s',
  'replace -f new.yaml --save-config --field-manager=me',
  'get rt new -o jsonpath={.metadata.annotations}{.metadata.managedFields[*].manager} --show-managed-fields',
];

test('create and replace do, say and end as kubectl does', async (t) => {
  const sides = await startBoth(t);
  if (sides !== undefined) await compareAll(sides, WRITES);
});

test('api-resources prints what kubectl prints', async (t) => {
  const sides = await startBoth(t);
  if (sides === undefined) return;
  const flags = [
    '',
    '-o wide',
    '-o name',
    '-o json',
    '--no-headers',
    '--api-group=edge.example.com',
    '--api-group=nope',
    '--sort-by=kind',
    '--sort-by=name',
    '--sort-by=x',
    '--namespaced=false',
    '--verbs=list,delete',
    '--categories=edge,all',
    'x',
  ];
  await compareAll(
    sides,
    flags.map((each) => `api-resources ${each}`.trim()),
  );
});

test('auth says what kubectl says', async (t) => {
  const sides = await startBoth(t);
  if (sides === undefined) return;
  await compareAll(sides, [
    'auth whoami',
    'auth can-i get routers',
    'auth can-i update rt --subresource=status',
    'auth can-i get rt/node-1',
    'auth can-i get rt node-1 -q',
    'auth can-i create deployments.apps',
    'auth can-i * *',
    'auth can-i get /readyz',
    'auth can-i get',
    'auth can-i --list',
    'auth can-i --list --no-headers',
    'auth can-i --list --kubeconfig router.kubeconfig',
    'auth can-i --list --kubeconfig sidecar.kubeconfig',
    'auth can-i --list --kubeconfig syncer.kubeconfig',
    'auth can-i get routers --list',
    'auth whoami --kubeconfig sidecar.kubeconfig',
    'auth can-i delete rt --kubeconfig sidecar.kubeconfig',
    'auth can-i delete rt -q --kubeconfig sidecar.kubeconfig',
  ]);
});
