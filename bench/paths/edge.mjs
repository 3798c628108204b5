// app → sidecar → router → sidecar → service, in the forms that are compared.
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { resolveName } from '../../scripts/demo/checks.mjs';
import { applyRouter, defineNode, startApiserver, startRouter } from '../../scripts/demo/nodes.mjs';
import { claimRange } from '../../scripts/demo/places.mjs';
import { freePorts } from '../../scripts/demo/ports.mjs';
import { startConsumer, startExporter } from '../../scripts/demo/services.mjs';
import { until } from '../../scripts/demo/wait.mjs';

/** The forms by service name: how they are called, and what the sidecars are set to. */
export const EDGE_FORMS = {
  plain: { name: 'edge, plain', env: { SIDECAR_ROUTER_TLS: 'off' } },
  sealed: { name: 'edge, sealed', env: { SIDECAR_ROUTER_TLS: 'off', SIDECAR_SECRET_KEY: 'bench' } },
  tls: { name: 'edge, TLS to the Router', env: { SIDECAR_ROUTER_TLS: 'on' } },
};

/**
 * Starts a node, its Router and two sidecars for each of the forms. Resolves with the paths, which share the Router;
 * `cleanups` gets what is to be undone after the processes have ended.
 */
export async function startEdgePaths(processes, targetPort, forms, cleanups) {
  const node = defineNode('node-1', processes.dir, await freePorts(3));
  const tokenFile = join(processes.dir, 'router-token');
  writeFileSync(tokenFile, 'bench', { mode: 0o600 });
  await startApiserver(processes, node);
  await applyRouter(node);
  await startRouter(processes, node, tokenFile);
  const ports = await freePorts(forms.length);
  const { range, release } = await claimRange([ports]);
  cleanups.push(release);
  const paths = [];
  for (const [index, form] of forms.entries()) {
    const { name, env } = EDGE_FORMS[form];
    const settings = { EDGE_ROUTER_TOKEN_FILE: tokenFile, ...env };
    const port = ports[index];
    await startExporter(processes, node, { [form]: { port, targetPort } }, settings, `${form} exporter`);
    const [dnsPort] = await freePorts(1);
    const dns = { host: '127.0.0.1', port: dnsPort };
    const consumer = { mapped: [`${form}:${port}`], range, dns };
    await startConsumer(processes, node, consumer, settings, `${form} consumer`);
    const host = await until(`${form} resolves`, 15_000, () => resolveName(dns, `${form}.default.svc`));
    const programs = ['router', `${form} exporter`, `${form} consumer`];
    const pids = processes.pids(...programs.map((title) => `${title} on ${node.name}`));
    paths.push({ name, host, port, pids });
  }
  return paths;
}
