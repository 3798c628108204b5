/** `edge ctl inject` as a process, its output read by kubectl. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runEdge } from '../support/edge-process.ts';
import { runProcess } from '../support/processes.ts';
import { requireProgram } from '../support/programs.ts';
import { tempDir } from '../support/temp-dir.ts';

const DEPLOYMENT = `# the shop
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  selector:
    matchLabels: { app: shop }
  template:
    metadata:
      labels: { app: shop }
    spec:
      containers:
        - name: shop # listens at 8080
          image: shop:1
`;

const FLAGS = [
  '--image',
  'edge:1',
  '--map',
  'mysql:3306',
  '--dns-upstream',
  '10.96.0.10',
  '--secret',
  'edge',
];

test('kubectl reads an injected Deployment with both containers; injecting it again changes nothing', async (t) => {
  const kubectl = requireProgram(t, 'kubectl');
  if (kubectl === undefined) return;
  const dir = tempDir(t);
  const file = join(dir, 'shop.yaml');
  writeFileSync(file, DEPLOYMENT);
  const once = await runEdge(['ctl', 'inject', '-f', file, ...FLAGS]);
  assert.equal(once.status, 0, once.stderr);
  assert.ok(once.stdout.startsWith(DEPLOYMENT), once.stdout);
  writeFileSync(file, once.stdout);
  const twice = await runEdge(['ctl', 'inject', '-f', file, ...FLAGS]);
  assert.equal(twice.stdout, once.stdout);
  // "set image --local" decodes into the types of Kubernetes, and asks no server
  const args = ['set', 'image', '--local', '-f', file, 'shop=shop:2', '-o'];
  const path = '{.spec.template.spec.containers[*].image} {.spec.template.spec.dnsConfig.options[0].value}';
  const read = await runProcess(kubectl, [...args, `jsonpath=${path}`], { env: { HOME: dir } });
  assert.equal(read.stdout, 'shop:2 edge:1 5', read.stderr);
});

test('mistakes are one line that says what is missing', async () => {
  const noImage = await runEdge(['ctl', 'inject', '-f', '/nonexistent', '--export', 'web=80']);
  assert.equal(noImage.status, 1);
  assert.match(noImage.stderr, /^error: inject: --image is missing/u);
  const noFile = await runEdge(['ctl', 'inject', '-f', '/nonexistent', '--image', 'i', '--export', 'web=80']);
  assert.match(noFile.stderr, /^error: --filename: cannot read \/nonexistent: no such file/u);
  const noUpstream = await runEdge(['ctl', 'inject', '-f', '-', '--image', 'i', '--map', 'mysql']);
  assert.match(noUpstream.stderr, /^error: inject: --map wants --dns-upstream/u);
});
