/** Answers requests that Node itself refuses (broken HTTP, headers too large) with a Status like any other failure. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { statusError } from '../api/status.ts';
import { errorCode } from '../lib/errors.ts';

const REASONS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};
/** Time for the client to take the answer and close; who has sent nonsense need not be waited for longer. */
const LINGER_MS = 2000;

/** Creates the listener of a server's `clientError` event. */
export function createNodeErrorResponder(): (err: Error, socket: Duplex) => void {
  return (err, socket) => {
    // an answer to a client that has not finished its handshake would wait for it for ever
    const isUnencrypted = socket instanceof TLSSocket && isHandshaking(socket);
    if (!socket.writable || isUnencrypted || errorCode(err) === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const line = REASONS[errorCode(err) ?? ''] ?? '400 Bad Request';
    const { status } = statusError('BadRequest', 'the request is not valid HTTP');
    status.code = Number(line.slice(0, 3));
    const body = JSON.stringify(status);
    if (socket instanceof Socket) socket.setTimeout(LINGER_MS, () => socket.destroy());
    socket.end(
      `HTTP/1.1 ${line}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    );
  };
}

/** Node has a property for it that its types leave out. */
function isHandshaking(socket: TLSSocket & { secureConnecting?: boolean }): boolean {
  return socket.secureConnecting === true;
}
