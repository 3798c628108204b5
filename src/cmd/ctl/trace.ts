/** `edge ctl trace SERVICE`: every hop from the name to the target, what each costs, and which one is broken. */
import { Resolver } from 'node:dns/promises';
import { parseHostPort } from '../../lib/address.ts';
import { EdgeError, errorMessage, UsageError } from '../../lib/errors.ts';
import { parseMapped, serviceKey } from '../../sidecar/services.ts';
import type { SidecarStatus } from '../../sidecar/status.ts';
import type { TraceReport } from '../../sidecar/trace.ts';
import { EXIT_FAILURE, ExitStatus } from '../exit.ts';
import { hasColor, paintMark } from './marks.ts';
import { askSidecar, SIDECAR_ADMIN } from './sidecar-admin.ts';
import { traceOf } from './trace-lines.ts';
import type { NameLookup, TraceLine } from './trace-lines.ts';
import { createVerb, runVerb } from './verb.ts';

const STATUS_TIMEOUT_MS = 2000;
/** Routers are tried one after the other, each for the sidecar's connect timeout at most. */
const TRACE_TIMEOUT_MS = 120_000;

/** Runs the verb; exit status 1 when no connection gets through. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('trace SERVICE', 'Follow a service from its name to its target.')
    .argument('<SERVICE>', 'NAME[.NAMESPACE][:PORT]')
    .option('--sidecar <URL>', 'admin address of the sidecar', SIDECAR_ADMIN)
    .option('-o, --output <FORMAT>', 'json')
    .allowExcessArguments(false);
  await runVerb(command, argv, async ({ print }, [service]) => {
    const { sidecar, output } = command.opts<{ sidecar: string; output?: string }>();
    if (service === undefined) throw new UsageError('trace: which service?');
    if (output !== undefined && output !== 'json') throw new UsageError(`--output: "${output}" is not json`);
    const status = await askSidecar<SidecarStatus>(sidecar, '/status', STATUS_TIMEOUT_MS);
    const wanted = parseMapped(service, 'trace', status.namespace);
    const key = serviceKey(wanted);
    if (!status.services.some((each) => serviceKey(each) === key))
      throw new EdgeError(
        'EDGE_ERR_CTL_NOT_MAPPED',
        `service ${key} is not mapped by the sidecar at ${sidecar}`,
        {
          hint: `it maps ${status.services.map(serviceKey).join(', ') || 'none'}; SIDECAR_MAPPED_SERVICES adds one`,
        },
      );
    const port = wanted.ports[0] ?? wanted.udpPorts[0] ?? 0;
    const name = await lookUp(`${key}.svc`, status.dns?.address);
    const report = await askSidecar<TraceReport>(sidecar, `/trace/${key}?port=${port}`, TRACE_TIMEOUT_MS);
    const { lines, isReachable } = traceOf(report, name, status);
    const title = `${key}, ${report.port === 0 ? 'port unknown' : `port ${report.port}/${report.protocol}`}`;
    if (output === 'json')
      await print(
        `${JSON.stringify({ service: key, ok: isReachable, hops: lines, report }, undefined, 2)}\n`,
      );
    else await print(`${title}\n${lines.map((line) => format(line, hasColor())).join('')}`);
    if (!isReachable) throw new ExitStatus(EXIT_FAILURE);
  });
}

/** Asks the sidecar's responder, and nobody else. */
async function lookUp(name: string, server: string | undefined): Promise<NameLookup> {
  if (server === undefined) return { name, server, addresses: [], error: undefined, ms: 0 };
  const { host } = parseHostPort(server, 'the sidecar');
  const resolver = new Resolver({ timeout: STATUS_TIMEOUT_MS, tries: 1 });
  resolver.setServers([host.includes(':') ? `[${host}]${server.slice(server.lastIndexOf(':'))}` : server]);
  const startedAt = performance.now();
  try {
    const addresses = await resolver.resolve4(name);
    return { name, server, addresses, error: undefined, ms: performance.now() - startedAt };
  } catch (err) {
    return { name, server, addresses: [], error: errorMessage(err), ms: performance.now() - startedAt };
  }
}

const MARKS = { ok: 'ok', broken: 'problem', off: 'absent' } as const;

function format({ hop, state, text, ms, hint }: TraceLine, isColored: boolean): string {
  const cost = ms === null ? '' : `${ms.toFixed(1)} ms`;
  const line = `  ${paintMark(MARKS[state], isColored)}${hop.padEnd(12)}${cost.padStart(10)}  ${text}\n`;
  return hint === undefined ? line : `${line}      hint: ${hint}\n`;
}
