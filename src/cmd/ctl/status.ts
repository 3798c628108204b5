/** `edge ctl status`: the whole node at a glance, each problem with what to do about it. */
import { hostname } from 'node:os';
import { ROUTERS } from '../../api/edge.ts';
import type { Router } from '../../api/gen/types.ts';
import { createApiClient } from '../../apiclient/client.ts';
import type { ApiClient } from '../../apiclient/client.ts';
import { EdgeError, errorMessage } from '../../lib/errors.ts';
import { EXIT_FAILURE, ExitStatus } from '../exit.ts';
import { hasColor, paintMark } from './marks.ts';
import { SIDECAR_ADMIN } from './sidecar-admin.ts';
import { mirrorLines, ownRouterLines } from './status-routers.ts';
import type { StatusLine } from './status-routers.ts';
import { createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

const SIDECAR_TIMEOUT_MS = 1000;

interface StatusFlags {
  node?: string;
  sidecar: string;
  output?: string;
}

/** Runs the verb; exit status 1 when something needs attention. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('status', 'Show the whole node at a glance.')
    .option('--node <NAME>', 'which node this is (default: host name, env EDGE_NODE_NAME)')
    .option('--sidecar <URL>', 'admin address of the sidecar', SIDECAR_ADMIN)
    .option('-o, --output <FORMAT>', 'json');
  await runVerb(command, argv, (session) => status(session, command.opts<StatusFlags>()));
}

async function status(session: Session, flags: StatusFlags): Promise<void> {
  const node = flags.node ?? (process.env['EDGE_NODE_NAME'] || hostname().toLowerCase());
  const lines: StatusLine[] = [];
  const routers = await apiServerLines(session.client, lines);
  if (routers !== undefined) {
    lines.push(...ownRouterLines(node, routers), ...mirrorLines(node, routers, Date.now()));
  }
  lines.push(...(await sidecarLines(flags.sidecar)));
  const hasProblem = lines.some(({ state }) => state === 'problem');
  if (flags.output === 'json')
    await session.print(`${JSON.stringify({ node, ok: !hasProblem, checks: lines }, undefined, 2)}\n`);
  else await session.print(`node ${node}\n${lines.map((line) => formatLine(line, hasColor())).join('')}`);
  if (hasProblem) throw new ExitStatus(EXIT_FAILURE);
}

/** Adds what is known of the API server; returns its Routers, or undefined when it does not answer. */
async function apiServerLines(client: ApiClient, lines: StatusLine[]): Promise<Router[] | undefined> {
  try {
    const list = await client.list<Router>(ROUTERS);
    const version = await client.request('GET', '/version');
    const gitVersion =
      version.status === 200 ? (JSON.parse(version.text) as { gitVersion?: string }).gitVersion : undefined;
    const ready = await client.request('GET', '/readyz', { headers: { accept: '*/*' } });
    const revision = list.metadata.resourceVersion ?? 'unknown';
    lines.push({
      part: 'API server',
      state: ready.status === 200 ? 'ok' : 'problem',
      text: `${client.server}, ${gitVersion ?? 'version unknown'}, revision ${revision}${ready.status === 200 ? '' : ', not ready'}`,
      ...(ready.status === 200 ? {} : { hint: `see ${client.server}/readyz?verbose` }),
    });
    return list.items;
  } catch (err) {
    const hint = err instanceof EdgeError ? err.hint : undefined;
    lines.push({
      part: 'API server',
      state: 'problem',
      text: errorMessage(err),
      ...(hint === undefined ? {} : { hint }),
    });
    return undefined;
  }
}

/** What the sidecar's /status says, as far as it is shown here; another program may answer instead. */
interface SidecarStatus {
  phase?: string;
  problems?: string[];
  services?: { name?: string; namespace?: string; state?: string }[];
  exports?: unknown[];
}

async function sidecarLines(url: string): Promise<StatusLine[]> {
  const client = createApiClient(
    { server: url },
    { requestTimeoutMs: SIDECAR_TIMEOUT_MS, maxResponseBytes: 1024 * 1024 },
  );
  try {
    const answer = await client.request('GET', '/status');
    if (answer.status !== 200) {
      return [
        {
          part: 'sidecar',
          state: 'problem',
          text: `${url}/status answered ${answer.status}`,
          hint: `is a sidecar listening at ${url}? --sidecar names another address`,
        },
      ];
    }
    return [sidecarLine(url, JSON.parse(answer.text) as SidecarStatus)];
  } catch (err) {
    if (err instanceof EdgeError && err.code === 'EDGE_ERR_API_UNREACHABLE')
      return [{ part: 'sidecar', state: 'absent', text: `none at ${url}` }];
    return [
      {
        part: 'sidecar',
        state: 'problem',
        text: errorMessage(err),
        hint: `is another program listening at ${url}?`,
      },
    ];
  } finally {
    client.close();
  }
}

function sidecarLine(
  url: string,
  { phase, problems = [], services = [], exports = [] }: SidecarStatus,
): StatusLine {
  const text = `${url}, ${phase ?? 'phase unknown'}, ${services.length} mapped, ${exports.length} exported`;
  if (phase !== 'ready') {
    const hint = problems[0] ?? `see ${url}/readyz?verbose`;
    return { part: 'sidecar', state: 'problem', text, hint };
  }
  const lacking = services
    .filter(({ state }) => state !== 'ready')
    .map(({ name = '?', namespace = '?', state = '?' }) => `${name}.${namespace} (${state})`);
  if (lacking.length === 0) return { part: 'sidecar', state: 'ok', text };
  return {
    part: 'sidecar',
    state: 'problem',
    text,
    hint: `without a working provider: ${lacking.join(', ')}`,
  };
}

function formatLine({ part, state, text, hint }: StatusLine, isColored: boolean): string {
  const mark = paintMark(state, isColored);
  return `  ${mark}${part.padEnd(16)} ${text}\n${hint === undefined ? '' : `      hint: ${hint}\n`}`;
}
