/** A tunnel client without a tunnel: tests set its phase, answer its visitors and deliver its connections. */
import type { ByteStream } from '../../src/tunnel/byte-stream.ts';
import { TunnelError } from '../../src/tunnel/errors.ts';
import type {
  FrpClient,
  FrpClientConfig,
  FrpClientPhase,
  ProxyDefinition,
  ProxyHandle,
  VisitorRequest,
} from '../../src/tunnel/frpc/types.ts';

/** A client under the control of a test. */
export class FakeFrpClient implements FrpClient {
  readonly config: FrpClientConfig;
  readonly proxies = new Map<string, ProxyDefinition>();
  readonly visits: VisitorRequest[] = [];
  phase: FrpClientPhase = 'idle';
  lastError: Error | undefined;
  runId: string | undefined;
  roundTripMs: number | undefined;
  silentMs = 0;
  /** Answers visitors; refuses them when absent. */
  onVisit: ((request: VisitorRequest, signal?: AbortSignal) => Promise<ByteStream>) | undefined;
  #listener: () => void = () => {};

  constructor(config: FrpClientConfig) {
    this.config = config;
  }

  probe(): number {
    return this.silentMs;
  }

  start(): void {
    this.phase = 'connecting';
  }

  stop(): Promise<void> {
    this.phase = 'stopped';
    this.proxies.clear();
    return Promise.resolve();
  }

  onChange(listener: () => void): void {
    this.#listener = listener;
  }

  /** Moves to a phase and tells the owner. */
  to(phase: FrpClientPhase): void {
    this.phase = phase;
    this.#listener();
  }

  addProxy(definition: ProxyDefinition): ProxyHandle {
    if (this.proxies.has(definition.name)) throw new Error(`proxy ${definition.name} is registered already`);
    this.proxies.set(definition.name, definition);
    const isOnline = (): boolean => this.phase === 'online';
    return {
      name: definition.name,
      get phase() {
        return isOnline() ? 'running' : 'waiting';
      },
      error: undefined,
      remoteAddr: undefined,
      close: () => void this.proxies.delete(definition.name),
    };
  }

  async openVisitor(request: VisitorRequest, signal?: AbortSignal): Promise<ByteStream> {
    this.visits.push(request);
    if (this.phase !== 'online') throw new TunnelError('offline', 'not connected');
    if (this.onVisit === undefined) throw new TunnelError('visitorRefused', 'no such proxy');
    return this.onVisit(request, signal);
  }
}
