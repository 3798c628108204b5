// Two nodes on loopback, each with its own apiserver, Router and syncer as `edge` runs them on real machines.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { EDGE_READY, run } from './processes.mjs';
import { PATIENCE_MS, until } from './wait.mjs';

const edge = join(import.meta.dirname, '../../dist/edge');

/** A short drain, so that Ctrl-C does not take long. */
const DRAIN = ['--drain-timeout', '2s'];

/** Runs `edge ctl` as the node's administrator. */
export function ctl(node, args, input) {
  return run(process.execPath, [edge, 'ctl', ...args, '--kubeconfig', node.adminKubeconfig], { input });
}

/** What a node is before anything runs on it; `ports` are three free ones. */
export function defineNode(name, dir, ports) {
  const dataDir = join(dir, name);
  mkdirSync(dataDir, { mode: 0o700 });
  const [apiPort, bindPort, dashboardPort] = ports;
  return {
    name,
    dataDir,
    apiPort,
    bindPort,
    dashboardPort,
    adminKubeconfig: join(dataDir, 'admin.kubeconfig'),
  };
}

/** Starts one subcommand of edge on a node. */
export function startEdge(processes, node, { title, args, env = {} }) {
  return processes.start({
    name: `${title} on ${node.name}`,
    command: process.execPath,
    args: [edge, ...args, '--data-dir', node.dataDir, ...DRAIN],
    env: { EDGE_NODE_NAME: node.name, ...env },
    ready: EDGE_READY,
  });
}

/** The apiserver; makes its certificates and kubeconfigs on the way. */
export function startApiserver(processes, node) {
  const args = ['apiserver', '--listen', `127.0.0.1:${node.apiPort}`];
  return startEdge(processes, node, { title: 'apiserver', args });
}

/** The Router object, as a cloud controller would write it. */
function routerObject(node) {
  return {
    apiVersion: 'edge.example.com/v1',
    kind: 'Router',
    metadata: { name: node.name },
    spec: {
      frps: {
        bindAddr: '127.0.0.1',
        bindPort: node.bindPort,
        dashboardAddr: '127.0.0.1',
        dashboardPort: node.dashboardPort,
      },
    },
  };
}

/** Writes the Router object of the node through its API. */
export async function applyRouter(node) {
  await ctl(node, ['apply', '-f', '-'], JSON.stringify(routerObject(node)));
}

/** The Router, and waits until its object says that it serves. */
export async function startRouter(processes, node, tokenFile, env = {}) {
  await startEdge(processes, node, {
    title: 'router',
    args: ['router', '--advertise-address', '127.0.0.1'],
    env: { EDGE_ROUTER_TOKEN_FILE: tokenFile, ...env },
  });
  await until(`Router ${node.name} is Ready`, PATIENCE_MS, async () =>
    hasCondition(await getRouter(node, node.name), 'Ready'),
  );
}

/** The syncer, with the other node's syncer credentials; waits until the mirror is here and confirmed. */
export async function startSyncer(processes, node, peer) {
  const peersFile = join(node.dataDir, 'peers.yaml');
  const peers = [{ node: peer.name, kubeconfig: join(peer.dataDir, 'syncer.kubeconfig') }];
  writeFileSync(peersFile, JSON.stringify({ peers }), { mode: 0o600 });
  await startEdge(processes, node, { title: 'syncer', args: ['syncer', '--peers-file', peersFile] });
  await until(`${node.name} mirrors ${peer.name}`, PATIENCE_MS, async () =>
    hasCondition(await getRouter(node, peer.name), 'Synced'),
  );
}

/** A Router object as this node's API has it. */
export async function getRouter(node, name) {
  return JSON.parse(await ctl(node, ['get', 'router', name, '-o', 'json']));
}

/** Whether a condition of an object is true. */
export function hasCondition(object, type) {
  return (object.status?.conditions ?? []).some(
    (condition) => condition.type === type && condition.status === 'True',
  );
}
