/** A client of the web terminal's WebSocket, with or without its subprotocol. */
import { WebSocket } from 'ws';
import type { TestLike } from './processes.ts';
import { waitFor } from './wait.ts';

/** What a test wants of the WebSocket. */
export interface TerminalOptions {
  headers?: Record<string, string>;
  protocols?: string[];
  origin?: string;
}

/** An open or refused terminal. */
export class TerminalClient {
  readonly socket: WebSocket;
  /** Output so far. */
  output = '';
  /** Bytes of it. */
  bytes = 0;
  readonly messages: Record<string, unknown>[] = [];
  closed: { code: number; reason: string } | undefined;
  /** The HTTP answer of an upgrade that was refused. */
  refused: { status: number; body: string } | undefined;
  /** Whether output is acknowledged as it comes. */
  isReading = true;
  #unacknowledged = 0;

  constructor(t: TestLike, url: string, options: TerminalOptions = {}) {
    this.socket = new WebSocket(url.replace(/^http/u, 'ws'), options.protocols ?? [], {
      headers: options.headers ?? {},
      perMessageDeflate: false,
      ...(options.origin === undefined ? {} : { origin: options.origin }),
    });
    t.after(() => this.socket.terminate());
    this.socket.on('message', (data: Buffer, isBinary) => {
      if (!isBinary) {
        this.messages.push(JSON.parse(data.toString()) as Record<string, unknown>);
        return;
      }
      this.output = (this.output + data.toString()).slice(-1024 * 1024);
      this.bytes += data.length;
      this.#unacknowledged += data.length;
      if (this.isReading) this.acknowledge();
    });
    this.socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    this.socket.on('unexpected-response', (_request, answer) => {
      let body = '';
      answer.on('data', (chunk: Buffer) => (body += chunk.toString()));
      answer.on('end', () => {
        this.refused = { status: answer.statusCode ?? 0, body };
      });
    });
    this.socket.on('error', () => {}); // told by refused or closed
  }

  /** Resolves when it is open. */
  async open(): Promise<void> {
    await waitFor(() => this.socket.readyState === WebSocket.OPEN, {
      what: 'the terminal to open',
      timeoutMs: 30_000,
    });
  }

  /** Says that everything so far has been shown. */
  acknowledge(): void {
    if (this.socket.protocol !== '') this.tell({ type: 'ack', bytes: this.#unacknowledged });
    this.#unacknowledged = 0;
  }

  tell(message: object): void {
    this.socket.send(JSON.stringify(message));
  }

  /** Types text, as a binary frame. */
  type(text: string): void {
    this.socket.send(Buffer.from(text), { binary: true });
  }

  async waitForOutput(pattern: RegExp, timeoutMs = 30_000): Promise<void> {
    await waitFor(() => pattern.test(this.output) || undefined, {
      what: `${pattern} in the terminal; it shows: ${JSON.stringify(this.output.slice(-500))} ${JSON.stringify(this.messages)} ${JSON.stringify(this.closed)}`,
      timeoutMs,
    }).catch((err: unknown) => {
      throw new Error(
        `no ${pattern}; the terminal shows ${JSON.stringify(this.output.slice(-500))}, messages ${JSON.stringify(this.messages)}, ended ${JSON.stringify(this.closed)}`,
        { cause: err },
      );
    });
  }

  /** Resolves with the first message of a type. */
  waitForMessage(type: string): Promise<Record<string, unknown>> {
    return waitFor(() => this.messages.find((message) => message['type'] === type), {
      what: `a message "${type}"`,
      timeoutMs: 30_000,
    });
  }

  async waitForClose(): Promise<{ code: number; reason: string }> {
    return waitFor(() => this.closed, { what: 'the terminal to close', timeoutMs: 30_000 });
  }

  async waitForRefusal(): Promise<{ status: number; body: string }> {
    return waitFor(() => this.refused, { what: 'the terminal to be refused', timeoutMs: 30_000 });
  }
}
