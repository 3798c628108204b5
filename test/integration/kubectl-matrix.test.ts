/** Every kubectl release on this machine against `edge apiserver`: the same commands, the same answers and exit codes. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TestContext } from 'node:test';
import { startEdgeReady } from '../support/edge-process.ts';
import { findKubectls } from '../support/kubectls.ts';
import type { KubectlProgram } from '../support/kubectls.ts';
import { runProcess, startProcess } from '../support/processes.ts';
import { tempDir } from '../support/temp-dir.ts';

/** One command and what must come of it. */
interface Step {
  /** Arguments, split at blanks; `FILE:text` and quoted parts are given by `args`. */
  run: string;
  args?: readonly string[];
  /** The exit status; 0 when absent. */
  status?: number;
  out?: RegExp;
  err?: RegExp;
  /** Releases from this minor on. */
  since?: number;
  /** Output differs between releases in wording, so it is not compared. */
  differs?: boolean;
  env?: Readonly<Record<string, string>>;
}

const API = '/apis/edge.example.com/v1/routers';
const manifest = (name: string, port: number, labels = '{tier: gold}', extra = ''): string =>
  `apiVersion: edge.example.com/v1\nkind: Router\nmetadata:\n  name: ${name}\n  labels: ${labels}\nspec:\n  frps: {bindPort: ${port}}\n${extra}---\n`;
const MAINTENANCE = `apiVersion: edge.example.com/v1\nkind: NodeMaintenance\nmetadata: {name: n1}\nspec: {nodeName: node-7}\n`;

/** Files of the working directory. */
const FILES: Readonly<Record<string, string>> = {
  'r1.yaml': manifest('r1', 7000),
  'r1-changed.yaml': manifest('r1', 7001),
  'r1-unlabelled.yaml': manifest('r1', 7001, '{}'),
  'r2.yaml': manifest('r2', 7000),
  'r2-changed.yaml': manifest('r2', 7002, '{tier: gold}', '  loadBalancing: {policy: random}\n'),
  'r2-unlabelled.yaml': manifest('r2', 7002, '{}', '  loadBalancing: {policy: random}\n'),
  'wrong.yaml': manifest('wrong', 70000),
  'unknown.yaml': manifest('unknown', 7000, '{}', '  bogus: 1\n'),
  'nm.yaml': MAINTENANCE,
  'many.yaml': Array.from({ length: 25 }, (_, at) =>
    manifest(`page-${at}`, 7000 + at, '{many: "true"}'),
  ).join(''),
  'stale.yaml': manifest('r1', 7009).replace('name: r1', 'name: r1\n  resourceVersion: "1"'),
  'raw.json': JSON.stringify({
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name: 'raw' },
    spec: { frps: { bindPort: 1 } },
  }),
  'delete-options.json': JSON.stringify({ preconditions: { uid: 'another' } }),
  'editor.sh': '#!/bin/sh\nsed -i "s/bindPort: [0-9]*/bindPort: 7070/" "$1"\n',
};

const READY = '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}';
const OPTIONAL_TIME = /(?:\d+[dhms])+|\d{4}-\d\d-\d\dT\S+Z/gu;

const STEPS: readonly Step[] = [
  {
    run: 'api-resources --api-group=edge.example.com',
    out: /^nodemaintenances +nm +edge\.example\.com\/v1 +false +NodeMaintenance\nrouters +rt +/mu,
  },
  { run: 'api-versions', out: /^edge\.example\.com\/v1$/mu },
  { run: 'version', out: /v1\.33\.0-edge/u, differs: true },
  { run: 'explain routers.spec.frps', out: /bindPort\s+<integer> -required-/u, differs: true },
  {
    run: 'explain nm.spec --output=plaintext-openapiv2',
    out: /nodeName\s+<string> -required-\n +The node this is about\./u,
    differs: true,
  },
  { run: 'explain nm.metadata', out: /labels/u, differs: true },
  { run: 'get routers', err: /No resources found/u },
  // the CRDs, as scripts look for them
  { run: 'get crd', out: /^NAME +CREATED AT\nnodemaintenances\.edge\.example\.com +\d{4}-/u, differs: true },
  {
    run: 'wait --for=condition=Established crd/routers.edge.example.com --timeout=10s',
    out: /condition met/u,
  },
  // the little that there is of the core group
  { run: 'get events', err: /No resources found in default namespace\./u },
  { run: 'get ev -A --field-selector involvedObject.name=r1', err: /No resources found/u },
  { run: 'events', err: /No events found in default namespace\./u },
  { run: 'events -A --for=router/r1', err: /No events found\./u },
  { run: 'get ns', out: /^NAME +STATUS +AGE\ndefault +Active +/u, differs: true },
  { run: 'cluster-info', out: /control plane/u, differs: true },
  // create and its refusals
  {
    run: 'create -f r1.yaml --dry-run=server',
    out: /router\.edge\.example\.com\/r1 created \(server dry run\)/u,
  },
  {
    run: 'get router r1',
    status: 1,
    err: /Error from server \(NotFound\): routers\.edge\.example\.com "r1" not found/u,
  },
  { run: 'create -f r1.yaml', out: /r1 created/u },
  {
    run: 'create -f r1.yaml',
    status: 1,
    err: /Error from server \(AlreadyExists\): error when creating "r1\.yaml": routers\.edge\.example\.com "r1" already exists/u,
  },
  {
    run: 'create -f wrong.yaml',
    status: 1,
    err: /The Router "wrong" is invalid: spec\.frps\.bindPort: Invalid value: 70000/u,
  },
  { run: 'create -f unknown.yaml', status: 1, err: /strict decoding error: unknown field "spec\.bogus"/u },
  { run: 'create -f unknown.yaml --validate=warn', err: /Warning: unknown field "spec\.bogus"/u },
  { run: 'delete router unknown', out: /"unknown" deleted/u, differs: true },
  { run: 'create -f unknown.yaml --validate=false', out: /created/u },
  { run: 'delete router unknown --wait=false', out: /"unknown" deleted/u, differs: true },
  { run: 'create -f nm.yaml', out: /nodemaintenance\.edge\.example\.com\/n1 created/u },
  // all the ways to look
  { run: 'get rt', out: /^NAME +READY +ADDRESS +PORT +ORIGIN +SYNCED +AGE\nr1 +7000 +/u },
  { run: 'get rt -o wide', out: /SERVICES +VERSION/u },
  { run: 'get rt -A --show-labels', out: /tier=gold/u },
  { run: 'get rt,nm', out: /router\.edge\.example\.com\/r1[^]*nodemaintenance\.edge\.example\.com\/n1/u },
  { run: 'get all', out: /router\.edge\.example\.com\/r1/u },
  { run: 'get rt r1 -o name', out: /^router\.edge\.example\.com\/r1$/mu },
  { run: 'get rt r1 -o jsonpath={.spec.frps.bindAddr}', out: /^0\.0\.0\.0$/u },
  { run: 'get rt -o custom-columns=N:.metadata.name,P:.spec.frps.bindPort', out: /^N +P\nr1 +7000\n$/u },
  { run: 'get rt r1 -o yaml', out: /kind: Router/u, differs: true },
  { run: 'get rt -o json', out: /"kind": "List"/u, differs: true },
  {
    run: 'get rt r1 -o yaml --show-managed-fields',
    out: /manager: kubectl-create\n {4}operation: Update/u,
    differs: true,
  },
  { run: 'get rt -l tier=gold,tier!=x -o name', out: /r1/u },
  { run: 'get rt --field-selector metadata.name=r1 -o name', out: /r1/u },
  { run: 'get rt --field-selector metadata.name!=r1', err: /No resources found/u },
  { run: 'get rt --field-selector spec.x=1', status: 1, err: /field label not supported: spec\.x/u },
  { run: 'get nm --field-selector spec.nodeName=node-7 -o name', out: /n1/u },
  { run: 'get nm --field-selector spec.nodeName=other', err: /No resources found/u },
  { run: 'get rt --sort-by=.spec.frps.bindPort', out: /r1/u },
  { run: 'get rt r1 --subresource=status', out: /r1/u, differs: true },
  { run: 'describe rt r1', out: /Bind Port: +7000[^]*Events: +<none>/u, differs: true },
  // client-side apply
  { run: 'apply -f r2.yaml', out: /r2 created/u },
  { run: 'apply -f r2.yaml', out: /r2 unchanged/u },
  { run: 'diff -f r2.yaml' },
  { run: 'diff -f r2-changed.yaml', status: 1, out: /\+.*7002/u, differs: true },
  { run: 'apply -f r2-changed.yaml --dry-run=server', out: /configured \(server dry run\)/u },
  { run: 'apply -f r2-changed.yaml', out: /r2 configured/u },
  { run: 'apply -f r2.yaml', out: /r2 configured/u },
  { run: 'get rt r2 -o jsonpath={.spec.frps.bindPort},{.spec.loadBalancing}', out: /^7000,$/u },
  { run: 'apply -f r1.yaml', out: /r1 configured/u, err: /last-applied-configuration/u },
  // server-side apply, and the move to it
  { run: 'apply --server-side -f r2-changed.yaml', out: /r2 serverside-applied/u },
  { run: 'apply --server-side -f r2-changed.yaml', out: /r2 serverside-applied/u },
  { run: 'apply --server-side -f r2-unlabelled.yaml', out: /r2 serverside-applied/u },
  { run: 'get rt r2 -o jsonpath={.metadata.labels}', out: /^$/u },
  { run: 'apply --server-side -f r2-changed.yaml', out: /r2 serverside-applied/u },
  { run: 'get rt r2 -o jsonpath={.metadata.managedFields[*].manager}', out: /kubectl/u, differs: true },
  {
    run: 'apply --server-side --field-manager=other -f r2.yaml',
    status: 1,
    err: /Apply failed with 1 conflict: conflict with "kubectl".*: \.spec\.frps\.bindPort/u,
    differs: true,
  },
  {
    run: 'apply --server-side --field-manager=other --force-conflicts -f r2.yaml',
    out: /serverside-applied/u,
  },
  { run: 'diff --server-side --force-conflicts -f r2-changed.yaml', status: 1, out: /7002/u, differs: true },
  {
    run: 'patch',
    args: ['rt', 'r2', '--type=merge', '-p', '{"spec":{"frps":{"bindPort":7003}}}'],
    out: /r2 patched/u,
  },
  {
    run: 'apply --server-side -f r2-changed.yaml',
    status: 1,
    err: /conflict with "kubectl-patch" using edge\.example\.com\/v1: \.spec\.frps\.bindPort/u,
    differs: true,
  },
  { run: 'apply --server-side --force-conflicts -f r2-changed.yaml', out: /serverside-applied/u },
  { run: 'apply --server-side -f r1-unlabelled.yaml', out: /r1 serverside-applied/u },
  { run: 'get rt r1 -o jsonpath={.metadata.labels.tier}', out: /^gold$/u },
  {
    run: 'apply --server-side --dry-run=server -f unknown.yaml',
    status: 1,
    err: /field not declared in schema/u,
    differs: true,
  },
  // patches
  {
    run: 'patch',
    args: ['rt', 'r1', '--type=merge', '-p', '{"spec":{"frps":{"bindPort":7001}}}'],
    out: /patched \(no change\)/u,
  },
  {
    run: 'patch',
    args: ['rt', 'r1', '--type=json', '-p', '[{"op":"replace","path":"/spec/frps/bindPort","value":7004}]'],
    out: /r1 patched/u,
  },
  {
    run: 'patch',
    args: ['rt', 'r1', '--type=json', '-p', '[{"op":"test","path":"/spec/frps/bindPort","value":1}]'],
    status: 1,
    err: /invalid|rejected/u,
    differs: true,
  },
  {
    run: 'patch',
    args: ['rt', 'r1', '-p', '{"spec":{}}'],
    status: 1,
    err: /strategic-merge-patch\+json is not supported by edge\.example\.com\/v1, Kind=Router/u,
  },
  {
    run: 'patch',
    args: ['rt', 'r1', '--subresource=status', '--type=merge', '-p', READY],
    out: /r1 patched/u,
  },
  { run: 'get rt r1', out: /r1 +True/u },
  { run: 'wait --for=condition=Ready rt/r1 --timeout=10s', out: /condition met/u },
  { run: 'wait --for=jsonpath={.spec.frps.bindPort}=7004 rt/r1 --timeout=10s', out: /condition met/u },
  { run: 'wait --for=condition=Synced rt/r1 --timeout=1s', status: 1, err: /timed out/u },
  { run: 'wait --for=create rt/r1 --timeout=10s', since: 31, out: /condition met/u },
  // label, annotate, edit, replace, scale
  { run: 'label rt r1 x=y', out: /r1 labeled/u },
  { run: 'label rt r1 x=z', status: 1, err: /already has a value/u, differs: true },
  {
    run: 'label rt r1 x=z --overwrite --resource-version=1',
    status: 1,
    err: /Conflict|the object has been modified/u,
    differs: true,
  },
  { run: 'label rt --all all=yes', out: /r1 labeled[^]*r2 labeled/u },
  { run: 'label rt r1 x-', out: /r1 unlabeled/u },
  { run: 'annotate rt r1 a=b', out: /r1 annotated?$/mu, differs: true },
  { run: 'edit rt r1', out: /r1 edited/u, env: { KUBE_EDITOR: './editor.sh' } },
  { run: 'edit rt r1', err: /Edit cancelled, no changes made/u, env: { KUBE_EDITOR: 'true' } },
  { run: 'get rt r1 -o jsonpath={.spec.frps.bindPort}', out: /^7070$/u },
  { run: 'replace -f r1-changed.yaml', out: /r1 replaced/u },
  {
    run: 'replace -f stale.yaml',
    status: 1,
    err: /Error from server \(Conflict\)[^]*the object has been modified/u,
  },
  { run: 'replace --force -f r1-changed.yaml', out: /r1 replaced/u, differs: true },
  {
    run: 'scale rt r1 --replicas=2',
    status: 1,
    err: /could not find the requested resource|not found/u,
    differs: true,
  },
  // paging, raw requests
  { run: 'create -f many.yaml', out: /page-24 created/u },
  { run: 'get rt -l many --chunk-size=10 -o name', out: /^(?:\S+\/page-\d+\n){25}$/u },
  { run: `get --raw ${API}?limit=2`, out: /"continue":"/u, differs: true },
  { run: `create --raw ${API} -f raw.json`, out: /"name":"raw"/u, differs: true },
  { run: `delete --raw ${API}/raw -f delete-options.json`, status: 1, err: /Conflict/u, differs: true },
  { run: `delete --raw ${API}/raw`, out: /"status":"Success"/u, differs: true },
  { run: 'get --raw /readyz?verbose', out: /^readyz check passed$/mu },
  { run: `get --raw /openapi/v2`, out: /^/u, differs: true },
  // deletion
  { run: 'delete rt r1 --dry-run=server', out: /deleted \(server dry run\)/u, differs: true },
  {
    run: 'patch',
    args: ['rt', 'r1', '--type=merge', '-p', '{"metadata":{"finalizers":["example.org/x"]}}'],
    out: /patched/u,
  },
  { run: 'delete rt r1 --wait=false', out: /"r1" deleted/u, differs: true },
  { run: 'get rt r1 -o jsonpath={.metadata.deletionGracePeriodSeconds}', out: /^0$/u },
  {
    run: 'patch',
    args: ['rt', 'r1', '--type=merge', '-p', '{"metadata":{"finalizers":["example.org/x","example.org/y"]}}'],
    status: 1,
    err: /no new finalizers can be added/u,
  },
  {
    run: 'patch',
    args: ['rt', 'r1', '--type=merge', '-p', '{"metadata":{"finalizers":null}}'],
    out: /patched/u,
  },
  { run: 'wait --for=delete rt/r1 --timeout=10s' },
  { run: 'delete rt -l many', out: /"page-0" deleted/u, differs: true },
  { run: 'delete rt r2 --cascade=foreground', out: /"r2" deleted/u, differs: true },
  { run: 'delete nm --all --force --grace-period=0', out: /deleted/u, differs: true },
  { run: 'delete rt nope', status: 1, err: /NotFound/u },
  { run: 'delete rt nope --ignore-not-found' },
  // who am I, and what is not there
  { run: 'auth can-i delete routers', out: /yes/u, differs: true },
  { run: 'auth can-i create pods', out: /^yes|^no/u, differs: true },
  { run: 'auth can-i --list', out: /\*/u, differs: true },
  {
    run: 'auth can-i delete routers --as=jane --as-group=edge:sidecar',
    status: 1,
    out: /^no/u,
    differs: true,
  },
  { run: 'auth whoami', out: /edge:admin:node-1/u, differs: true },
  { run: 'get pods', status: 1, err: /the server doesn't have a resource type "pods"/u },
];

async function runMatrix(t: TestContext, kubectl: KubectlProgram): Promise<Map<string, string>> {
  const dir = tempDir(t);
  for (const [name, text] of Object.entries(FILES)) writeFileSync(join(dir, name), text, { mode: 0o755 });
  await startEdgeReady(t, ['apiserver', '--data-dir', dir, '--listen', '127.0.0.1:0', '--node', 'node-1']);
  const env = { KUBECONFIG: join(dir, 'admin.kubeconfig'), HOME: dir };
  const outputs = new Map<string, string>();
  const wrong: string[] = [];
  for (const [at, step] of STEPS.entries()) {
    if (kubectl.minor < (step.since ?? 0)) continue;
    const args = [...step.run.split(' '), ...(step.args ?? [])];
    const result = await runProcess(kubectl.path, args, { env: { ...env, ...step.env }, cwd: dir });
    const isRight =
      result.status === (step.status ?? 0) &&
      (step.out?.test(result.stdout) ?? true) &&
      (step.err?.test(result.stderr) ?? true);
    if (!isRight) wrong.push(`${args.join(' ')}\nstatus ${result.status}\n${result.stdout}${result.stderr}`);
    if (step.differs !== true) {
      const output = result.stdout.replaceAll(OPTIONAL_TIME, 'TIME').replaceAll(/ +/gu, ' ');
      outputs.set(`${at} ${args.join(' ')}`, output);
    }
  }
  assert.equal(wrong.join('\n'), '', `kubectl 1.${kubectl.minor}`);
  const watch = startProcess(t, kubectl.path, ['get', 'rt', '-w'], {
    env: { ...env, KUBE_FEATURE_WatchListClient: 'true' },
    cwd: dir,
    name: 'kubectl get -w',
  });
  await runProcess(kubectl.path, ['create', '-f', 'r1.yaml'], { env, cwd: dir });
  await watch.waitForLine(/^r1 .* 7000 /u);
  const gone = startProcess(t, kubectl.path, ['wait', '--for=delete', 'rt/r1', '--timeout=30s'], {
    env,
    cwd: dir,
  });
  await runProcess(kubectl.path, ['replace', '-f', 'r1-changed.yaml'], { env, cwd: dir });
  await watch.waitForLine(/^r1 .* 7001 /u);
  await runProcess(kubectl.path, ['delete', 'rt', 'r1'], { env, cwd: dir });
  await gone.assertExit(0);
  return outputs;
}

test('every kubectl gets the same answers', async (t) => {
  const kubectls = await findKubectls();
  if (kubectls.length === 0) {
    if (process.env['CI'] === 'true') throw new Error('missing program: kubectl');
    t.skip('missing program: kubectl');
    return;
  }
  const all: { minor: number; outputs: Map<string, string> }[] = [];
  for (const kubectl of kubectls) {
    await t.test(`kubectl 1.${kubectl.minor}`, async (t) => {
      all.push({ minor: kubectl.minor, outputs: await runMatrix(t, kubectl) });
    });
  }
  const newest = all.at(-1);
  for (const { minor, outputs } of all) {
    for (const [step, output] of outputs) {
      assert.equal(output, newest?.outputs.get(step), `kubectl 1.${minor} prints something else: ${step}`);
    }
  }
});
