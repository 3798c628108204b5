// What to try while the demo runs: commands that can be copied as they are.
import { join, relative } from 'node:path';
import { bold, dim } from './screen.mjs';

const root = join(import.meta.dirname, '../..');

/** The lines to print. */
export function hints({ dns, nodes, files, redis, adminPort }) {
  const port = dns.port === 53 ? '' : ` -p ${dns.port}`;
  const near = nodes[0];
  const edge = relative(process.cwd(), join(root, 'dist/edge')) || 'dist/edge';
  const rows = [
    ['the name', `dig +short${port} @${dns.host} files.default.svc`],
    ['a file', `curl -s 'http://${files.host}:${files.port}/file?size=1000000' | sha256sum`],
    [
      'an upload',
      `head -c 1000000 /dev/zero | curl -s -T - -X POST http://${files.host}:${files.port}/upload`,
    ],
    ...(redis === undefined ? [] : [['Redis', `redis-cli -h ${redis.host} -p ${redis.port} ping`]]),
    ['kubectl', `KUBECONFIG=${near.adminKubeconfig} kubectl get routers -o wide`],
    ['the node', `${edge} ctl --kubeconfig ${near.adminKubeconfig} status --node ${near.name}`],
    ['the sidecar', `curl -s http://127.0.0.1:${adminPort}/status`],
    ...nodes.map(({ name, dashboardPort }) => [`dashboard of ${name}`, `http://127.0.0.1:${dashboardPort}/`]),
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  return [
    '',
    bold('Try, in another terminal:'),
    ...rows.map(([label, command]) => `  ${dim(label.padEnd(width))}  ${command}`),
    ...(dns.port === 53
      ? []
      : [dim(`  (port 53 of ${dns.host} is taken or needs root, so DNS is on ${dns.port})`)]),
    '',
    'Ctrl-C ends it and leaves nothing behind.',
  ];
}
