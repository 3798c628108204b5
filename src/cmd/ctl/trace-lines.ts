/** The hops from a service's name to its target as `edge ctl trace` shows them. Pure. */
import type { SidecarStatus } from '../../sidecar/status.ts';
import type { TraceReport, TraceRouter } from '../../sidecar/trace.ts';

/** One hop. */
export interface TraceLine {
  hop: string;
  /** `off` is not on the way, and not wrong either. */
  state: 'ok' | 'broken' | 'off';
  text: string;
  /** What it costs, milliseconds; null where nothing was measured. */
  ms: number | null;
  hint?: string;
}

/** What became of the name. */
export interface NameLookup {
  name: string;
  /** Where it was asked; undefined when the sidecar answers no names. */
  server: string | undefined;
  addresses: readonly string[];
  error: string | undefined;
  ms: number;
}

/** The whole trace. */
export interface Trace {
  lines: TraceLine[];
  /** Whether a connection got through to a target, or for UDP could. */
  isReachable: boolean;
}

/** Puts together what was found out. */
export function traceOf(
  report: TraceReport,
  name: NameLookup,
  status: Pick<SidecarStatus, 'apiserver'>,
): Trace {
  const routers = report.routers.map((router) => routerLines(router, report));
  const isReachable = report.routers.some((router) => isThrough(router, report));
  const lines = [nameLine(report, name), listenerLine(report), apiLine(status), ...routers.flat()];
  if (report.routers.length === 0)
    lines.push({
      hop: 'Router',
      state: 'broken',
      text: 'there is none',
      ms: null,
      hint: 'apply a Router object and start "edge router"; "edge ctl get routers" shows what there is',
    });
  return { lines, isReachable: isReachable && lines.slice(0, 2).every(({ state }) => state !== 'broken') };
}

function isThrough({ attempt, phase, providers }: TraceRouter, { protocol }: TraceReport): boolean {
  if (protocol === 'UDP') return phase === 'online' && providers.some(({ ready }) => ready);
  return attempt !== null && attempt.error === null;
}

function nameLine({ address }: TraceReport, { name, server, addresses, error, ms }: NameLookup): TraceLine {
  const base = { hop: 'name', ms: null };
  if (server === undefined)
    return {
      ...base,
      state: 'off',
      text: `the sidecar answers no names (DNS is off); the address is ${address}`,
    };
  if (error !== undefined)
    return {
      ...base,
      state: 'broken',
      text: `${name}: ${error}, asked ${server}`,
      hint: 'is the responder reached from here? "edge ctl status" tells whether the sidecar is ready',
    };
  if (!addresses.includes(address))
    return {
      ...base,
      state: 'broken',
      text: `${name} is ${addresses.join(', ')} by ${server}, and not ${address}`,
      hint: 'another responder answers there',
    };
  return { ...base, state: 'ok', text: `${name} is ${address}, by ${server}`, ms };
}

function listenerLine({ address, port, protocol, ports }: TraceReport): TraceLine {
  const base = { hop: 'listener', ms: null };
  const chosen = ports.find((each) => each.port === port && each.protocol === protocol);
  if (ports.length === 0)
    return {
      ...base,
      state: 'broken',
      text: `none at ${address}: the port is not known`,
      hint: 'no Router knows the service yet; name its port: SIDECAR_MAPPED_SERVICES=NAME:PORT',
    };
  if (chosen === undefined)
    return {
      ...base,
      state: 'broken',
      text: `none at ${address}:${port}`,
      hint: `there are ${ports.map((each) => `${each.port}/${each.protocol}`).join(', ')}`,
    };
  const text = `${address}:${port}/${protocol}, ${chosen.state}`;
  if (chosen.state === 'listening') return { ...base, state: 'ok', text };
  return {
    ...base,
    state: 'broken',
    text: chosen.error === undefined ? text : `${text}: ${chosen.error}`,
    hint: 'it is tried again every 3 seconds',
  };
}

function apiLine({ apiserver: { connected, fromCache } }: Pick<SidecarStatus, 'apiserver'>): TraceLine {
  const base = { hop: 'API server', ms: null };
  if (connected) return { ...base, state: 'ok', text: 'the sidecar follows it' };
  return {
    ...base,
    state: 'off',
    text: `away: what is known is from ${fromCache ? 'the cache' : 'before'}`,
    hint: 'connections go on; new services are not seen',
  };
}

function routerLines(router: TraceRouter, { protocol }: TraceReport): TraceLine[] {
  const lines = [sessionLine(router), ...providerLines(router)];
  if (router.attempt !== null) lines.push(...attemptLines(router, router.attempt));
  else if (protocol === 'UDP')
    lines.push({ hop: '  target', state: 'off', text: 'not tried: UDP has no connections', ms: null });
  return lines;
}

function sessionLine({ router, own, stale, address, phase, roundTripMs, lastError }: TraceRouter): TraceLine {
  const kind = own ? ' (own)' : stale ? ' (stale)' : '';
  const text = `${router}${kind} at ${address ?? 'no address'}, ${phase}`;
  const base = { hop: 'Router', ms: roundTripMs };
  if (phase === 'online') return { ...base, state: 'ok', text };
  if (phase === 'unused') return { ...base, state: 'off', text };
  return {
    ...base,
    state: 'broken',
    text: lastError === null ? text : `${text}: ${lastError}`,
    hint:
      phase === 'refused'
        ? 'is the token right (EDGE_ROUTER_TOKEN_FILE)?'
        : 'is "edge router" running there, and the way to it free?',
  };
}

function providerLines({ router, providers, stale }: TraceRouter): TraceLine[] {
  if (providers.length === 0)
    return [
      {
        hop: '  provider',
        state: 'off',
        text: `none at ${router}${stale ? ', as far as is known' : ''}`,
        ms: null,
      },
    ];
  return providers.map(({ id, node, ready, message }): TraceLine => {
    const text = `${id}${node === '' ? '' : ` on ${node}`}`;
    if (ready) return { hop: '  provider', state: 'ok', text: `${text}, ready`, ms: null };
    return {
      hop: '  provider',
      state: 'broken',
      text: `${text}, not ready${message === '' ? '' : `: ${message}`}`,
      ms: null,
    };
  });
}

function attemptLines(
  { router }: TraceRouter,
  { routerMs, targetMs, provider, sealed, error }: NonNullable<TraceRouter['attempt']>,
): TraceLine[] {
  const who = provider ?? 'a provider';
  if (routerMs === null)
    return [
      {
        hop: '  tunnel',
        state: 'broken',
        text: `${router} does not connect: ${error ?? 'no reason given'}`,
        ms: null,
        hint: 'do both ends have the same secret (SIDECAR_SECRET_KEY_FILE)?',
      },
    ];
  const tunnel: TraceLine = {
    hop: '  tunnel',
    state: 'ok',
    text: `to ${who}, ${sealed ? 'sealed' : 'not sealed'}`,
    ms: routerMs,
  };
  if (error !== null)
    return [
      tunnel,
      {
        hop: '  target',
        state: 'broken',
        text: `${who}: ${error}`,
        ms: null,
        hint: 'does the service run there, and listen where its sidecar exports it from?',
      },
    ];
  if (targetMs === null)
    return [
      tunnel,
      { hop: '  target', state: 'off', text: 'the provider does not tell of its target', ms: null },
    ];
  return [tunnel, { hop: '  target', state: 'ok', text: `${who} is connected to it`, ms: targetMs }];
}
