// Brings the demo up, step by step: two nodes that mirror each other, a service on one, its name on the other.
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { resolveName } from './checks.mjs';
import { applyRouter, defineNode, startApiserver, startRouter, startSyncer } from './nodes.mjs';
import { claimDnsAddress, claimRange } from './places.mjs';
import { freePorts } from './ports.mjs';
import { run } from './processes.mjs';
import { step } from './screen.mjs';
import { hasProgram, startConsumer, startExporter, startFileService, startRedis } from './services.mjs';
import { PATIENCE_MS, until } from './wait.mjs';

const root = join(import.meta.dirname, '../..');

function secretFile(dir, name) {
  const path = join(dir, name);
  writeFileSync(path, randomBytes(24).toString('hex'), { mode: 0o600 });
  return path;
}

/** Starts everything; resolves with what checks and hints need. `cleanups` gets what else must be undone. */
export async function startDemo(processes, cleanups) {
  await step('built dist/edge', () => run(process.execPath, [join(root, 'build.mjs')], { limitMs: 120_000 }));
  const tokenFile = secretFile(processes.dir, 'router-token');
  const secrets = {
    EDGE_ROUTER_TOKEN_FILE: tokenFile,
    SIDECAR_SECRET_KEY_FILE: secretFile(processes.dir, 'service-secret'),
  };
  const ports = await freePorts(6);
  const nodes = [1, 2].map((n) => defineNode(`node-${n}`, processes.dir, ports.slice(3 * n - 3, 3 * n)));
  for (const node of nodes) {
    await step(`${node.name}: apiserver`, async () => {
      await startApiserver(processes, node);
      return `https://127.0.0.1:${node.apiPort}`;
    });
    await step(`${node.name}: Router, configured through the API`, async () => {
      await applyRouter(node);
      await startRouter(processes, node, tokenFile);
      return `127.0.0.1:${node.bindPort}`;
    });
  }
  await step('the nodes mirror each other', async () => {
    await startSyncer(processes, nodes[0], nodes[1]);
    await startSyncer(processes, nodes[1], nodes[0]);
  });
  return startServices(processes, cleanups, nodes, secrets);
}

async function startServices(processes, cleanups, nodes, secrets) {
  const hasRedis = hasProgram('redis-server');
  const claim = await claimRange([[8080, 6379], [18_080, 16_379], await freePorts(2)]);
  cleanups.push(claim.release);
  const [filesPort, redisPort] = claim.ports;
  const exports = {};
  await step(`node-2: file service${hasRedis ? ' and Redis' : ' (no redis-server on PATH)'}`, async () => {
    exports.files = { port: filesPort, targetPort: await startFileService(processes) };
    if (hasRedis) exports.redis = { port: redisPort, targetPort: await startRedis(processes) };
  });
  await step('node-2: sidecar that publishes them', async () => {
    await startExporter(processes, nodes[1], exports, secrets);
    return Object.keys(exports).join(', ');
  });
  const dns = await claimDnsAddress();
  cleanups.push(dns.release);
  const mapped = Object.entries(exports).map(([name, { port }]) => `${name}:${port}`);
  const demo = { processes, nodes, dns };
  await step('node-1: sidecar that brings them here', async () => {
    demo.adminPort = await startConsumer(processes, nodes[0], { mapped, range: claim.range, dns }, secrets);
    for (const [name, { port }] of Object.entries(exports)) {
      const host = await until(`${name}.default.svc resolves`, PATIENCE_MS, () =>
        resolveName(dns, `${name}.default.svc`),
      );
      demo[name] = { host, port };
    }
    return Object.keys(exports)
      .map((name) => `${name} is ${demo[name].host}:${demo[name].port}`)
      .join(', ');
  });
  return demo;
}
