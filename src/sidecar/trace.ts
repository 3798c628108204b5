/** Follows a service Router by Router to the provider's target and says what each part costs; for `edge ctl trace`. */
import { formatHostPort } from '../lib/address.ts';
import type { Clock } from '../lib/clock.ts';
import { EdgeError, errorMessage } from '../lib/errors.ts';
import type { ByteStream } from '../tunnel/byte-stream.ts';
import { confirmationOf, payloadOf } from '../tunnel/confirmation.ts';
import { isSealed } from '../tunnel/seal/sealed-stream.ts';
import type { RouterChoice } from './connector.ts';
import { routerChoices } from './desired.ts';
import type { MappingDefinition, MappingStatus } from './mappings.ts';
import type { RouterClient } from './router-clients.ts';
import type { RouterView } from './routers.ts';
import { sealTo } from './sealing.ts';
import type { Protocol } from './services.ts';
import { reportRouter } from './status.ts';
import type { RouterReport } from './status.ts';

/** A connection that was tried through one Router. */
export interface TraceAttempt {
  /** Until the Router had a provider for it, milliseconds; null when it had none. */
  routerMs: number | null;
  /** From there until the provider's target took it; null when it did not, or the provider does not say. */
  targetMs: number | null;
  /** The provider that the Router chose; null when it did not say. */
  provider: string | null;
  sealed: boolean;
  error: string | null;
}

/** One Router on the way. */
export interface TraceRouter extends Omit<RouterReport, 'name'> {
  router: string;
  providers: { id: string; node: string; port: number | null; ready: boolean; message: string }[];
  /** Null where nothing was tried: the Router is not used, has no ready provider, or the service is UDP. */
  attempt: TraceAttempt | null;
}

/** The way to a service. */
export interface TraceReport {
  service: string;
  address: string;
  port: number;
  protocol: Protocol;
  ports: MappingStatus['ports'];
  routers: TraceRouter[];
}

/** What a tracer looks at. */
export interface TracerDeps {
  clock: Clock;
  definition(key: string): MappingDefinition | undefined;
  ports(key: string): MappingStatus['ports'];
  views(): readonly RouterView[];
  clientOf(router: string): RouterClient | undefined;
  isBlind(): boolean;
}

/** Traces one service at a time. */
export interface Tracer {
  /** `port` 0 is the service's first. An answer for the admin surface; never rejects. */
  trace(
    key: string,
    port: number,
  ): Promise<{ status: 200; body: TraceReport } | { status: 404 | 429; body: { error: string } }>;
}

/** Routers that are tried in one trace: each costs a connection to a provider's target. */
const MAX_ROUTERS = 16;

/** Creates a tracer. */
export function createTracer(deps: TracerDeps): Tracer {
  let isTracing = false;
  return {
    async trace(key, port) {
      const definition = deps.definition(key);
      if (definition === undefined)
        return { status: 404, body: { error: `service ${key} is not mapped here` } };
      if (isTracing) return { status: 429, body: { error: 'another trace is running' } };
      isTracing = true;
      try {
        return { status: 200, body: await traceService(definition, port, deps) };
      } finally {
        isTracing = false;
      }
    },
  };
}

async function traceService(
  definition: MappingDefinition,
  port: number,
  deps: TracerDeps,
): Promise<TraceReport> {
  const { key, address } = definition;
  const ports = deps.ports(key);
  const chosen = ports.find((each) => port === 0 || each.port === port);
  const at = { port: chosen?.port ?? port, protocol: chosen?.protocol ?? 'TCP' };
  const views = deps.views().filter(({ services, isOwn }) => isOwn || services.has(key));
  const routers: TraceRouter[] = [];
  for (const view of views.slice(0, MAX_ROUTERS)) routers.push(await traceRouter(definition, at, view, deps));
  return { service: key, address, ...at, ports, routers };
}

async function traceRouter(
  definition: MappingDefinition,
  { port, protocol }: { port: number; protocol: Protocol },
  view: RouterView,
  deps: TracerDeps,
): Promise<TraceRouter> {
  const { key, preferNode } = definition;
  const isExact = deps.ports(key).filter((each) => each.protocol === protocol).length > 1;
  const request = {
    key,
    port,
    protocol,
    isExact,
    connections: new Map(),
    avoided: new Set<string>(),
    preferNode,
  };
  const [choice] =
    protocol === 'TCP'
      ? routerChoices({ ...request, isBlind: deps.isBlind() }, [view], (name) => deps.clientOf(name))
      : [];
  const { name: router, ...report } = reportRouter(view, deps.clientOf(view.name));
  const providers = view.services.get(key)?.providers ?? [];
  return {
    router,
    ...report,
    providers: providers
      .filter((provider) => provider.protocol === protocol)
      .map(({ id, node, port: own, isReady, message }) => ({
        id,
        node,
        port: own ?? null,
        ready: isReady,
        message,
      })),
    attempt: choice === undefined ? null : await attempt(definition, port, choice, deps.clock),
  };
}

/** Opens a connection, waits until the target has taken it, and closes it without a byte. */
async function attempt(
  definition: MappingDefinition,
  port: number,
  { client, proxyName }: RouterChoice,
  clock: Clock,
): Promise<TraceAttempt> {
  const { address, secretKey, seal, preferNode, connectTimeoutMs } = definition;
  const result: TraceAttempt = { routerMs: null, targetMs: null, provider: null, sealed: false, error: null };
  const limit = new AbortController();
  const timer = clock.after(connectTimeoutMs, () => limit.abort());
  const startedAt = clock.now();
  try {
    const metas = { localAddr: formatHostPort(address, port), ...(preferNode === '' ? {} : { preferNode }) };
    const visitor = { proxyName, secretKey, confirm: true, metas, ...sealTo(seal, proxyName) };
    const stream = await client.openVisitor(visitor, limit.signal);
    result.routerMs = clock.now() - startedAt;
    result.provider = confirmationOf(stream)?.provider ?? null;
    result.sealed = isSealed(payloadOf(stream));
    const isConfirmed = await accepted(stream, limit.signal);
    if (isConfirmed) result.targetMs = clock.now() - startedAt - result.routerMs;
  } catch (err) {
    result.error = limit.signal.aborted ? `no answer in ${connectTimeoutMs / 1000}s` : errorMessage(err);
  } finally {
    timer.cancel();
  }
  return result;
}

/** Whether the target took the connection; false when the provider does not say. Rejects when it did not. */
function accepted(stream: ByteStream, signal: AbortSignal): Promise<boolean> {
  const confirmation = confirmationOf(stream);
  return new Promise((resolve, reject) => {
    const finish = (): void => stream.destroy(new EdgeError('EDGE_ERR_SIDECAR_TRACE', 'the trace is over'));
    stream.setHandler({
      onData: () => {},
      onEnd: () => {},
      onDrain: () => {},
      onClose: (err) => reject(err ?? new EdgeError('EDGE_ERR_SIDECAR_TRACE', 'the connection was closed')),
    });
    signal.addEventListener('abort', finish, { once: true });
    confirmation?.onAccepted(() => {
      resolve(true);
      finish();
    });
    stream.resume();
    if (confirmation !== undefined) return;
    resolve(false);
    finish();
  });
}
