/** Answers requests that Node itself refuses (broken HTTP, headers too large) with a Status like any other failure. */
import type { Duplex } from 'node:stream';
import { statusError } from '../api/status.ts';
import { errorCode } from '../lib/errors.ts';

const REASONS: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

/** Creates the listener of a server's `clientError` event. */
export function createNodeErrorResponder(): (err: Error, socket: Duplex) => void {
  return (err, socket) => {
    if (!socket.writable || errorCode(err) === 'ECONNRESET') {
      socket.destroy();
      return;
    }
    const line = REASONS[errorCode(err) ?? ''] ?? '400 Bad Request';
    const { status } = statusError('BadRequest', 'the request is not valid HTTP');
    status.code = Number(line.slice(0, 3));
    const body = JSON.stringify(status);
    socket.end(
      `HTTP/1.1 ${line}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    );
  };
}
