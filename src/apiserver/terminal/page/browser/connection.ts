/** The WebSocket of one terminal: the ticket and the login go in, output comes out; what was shown is acknowledged. */

/** How somebody logs in to a node. */
export interface Credentials {
  user: string;
  privateKey?: string;
  passphrase?: string;
  certificate?: string;
  issue?: boolean;
}

/** What a connection tells. */
export interface ConnectionHandler {
  /** Calls `done` when the bytes have been shown. */
  onOutput(bytes: Uint8Array, done: () => void): void;
  onReady(ready: { node: string; user: string; recorded: boolean }): void;
  /** Exactly once. */
  onEnd(text: string, isGood: boolean): void;
}

/** An open or opening connection. */
export interface Connection {
  type(text: string): void;
  bytes(text: string): void;
  resize(cols: number, rows: number): void;
  close(): void;
}

const PROTOCOL = 'edge.terminal.v1';
/** Shown bytes are acknowledged in steps of this size; the server stops at eight times as much. */
const ACK_BYTES = 32 * 1024;
/** The server takes frames of 64 KiB. */
const MAX_FRAME_BYTES = 32 * 1024;

interface ServerMessage {
  type: 'ready' | 'exit' | 'error';
  node?: string;
  user?: string;
  recorded?: boolean;
  status?: number | null;
  signal?: string | null;
  message?: string;
}

/** Opens a connection to the terminal of a node. */
export function connect(
  options: { name: string; ticket: string; credentials: Credentials; cols: number; rows: number },
  handler: ConnectionHandler,
): Connection {
  const { name, ticket, credentials, cols, rows } = options;
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const query = new URLSearchParams({ cols: String(cols), rows: String(rows), auth: 'message' });
  const url = `${scheme}://${location.host}/reverse_proxy/${encodeURIComponent(name)}?${query}`;
  const socket = new WebSocket(url, [PROTOCOL, `edge.ticket.${ticket}`]);
  socket.binaryType = 'arraybuffer';
  let ending: { text: string; isGood: boolean } | undefined;
  let shown = 0;

  const tell = (message: object): void => {
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  };
  const acknowledge = (bytes: number): void => {
    shown += bytes;
    if (shown < ACK_BYTES) return;
    tell({ type: 'ack', bytes: shown });
    shown = 0;
  };
  const send = (bytes: Uint8Array<ArrayBuffer>): void => {
    if (socket.readyState !== WebSocket.OPEN) return;
    for (let at = 0; at < bytes.length; at += MAX_FRAME_BYTES)
      socket.send(bytes.subarray(at, at + MAX_FRAME_BYTES));
  };
  const receive = (message: ServerMessage): void => {
    if (message.type === 'ready') {
      const { node = '', user = '', recorded = false } = message;
      handler.onReady({ node, user, recorded });
    } else if (message.type === 'exit') {
      const { status, signal } = message;
      ending = { text: signal ? `ended by ${signal}` : `ended with status ${status}`, isGood: status === 0 };
    } else ending = { text: message.message ?? 'failed', isGood: false };
  };

  socket.addEventListener('open', () => {
    const { user, privateKey, passphrase, certificate, issue } = credentials;
    tell({
      type: 'auth',
      user,
      private_key: privateKey,
      passphrase,
      certificate,
      ...(issue === true ? { issue } : {}),
    });
  });
  socket.addEventListener('message', ({ data }: MessageEvent<string | ArrayBuffer>) => {
    if (typeof data === 'string') receive(JSON.parse(data) as ServerMessage);
    else handler.onOutput(new Uint8Array(data), () => acknowledge(data.byteLength));
  });
  socket.addEventListener('close', ({ code, reason }) => {
    const text = reason === '' ? `the connection broke (${code})` : reason;
    const { text: shownText, isGood } = ending ?? { text, isGood: false };
    handler.onEnd(shownText, isGood);
  });

  return {
    type: (text) => send(new TextEncoder().encode(text)),
    bytes: (text) => send(Uint8Array.from(text, (character) => character.charCodeAt(0))),
    resize: (newCols, newRows) => tell({ type: 'resize', cols: newCols, rows: newRows }),
    close: () => socket.close(1000),
  };
}
