/** GETs of a frps's dashboard API: basic authentication, limits of time and size, JSON. */
import { request as httpRequest } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { EdgeError, errorMessage } from '../../lib/errors.ts';

/** Where the dashboard is and who asks. */
export interface FrpsApi {
  /** `http://HOST:PORT`, or https. */
  url: string;
  user: string;
  password: string;
}

/** Reads the JSON answer of a path. */
export type FrpsGet = (path: string, signal: AbortSignal) => Promise<unknown>;

/** The code of a dashboard that does not answer as it should. */
export const FRPS_ERROR = 'EDGE_ERR_ADAPTER_FRPS';
/** Longest silence of the dashboard, milliseconds. */
const TIMEOUT_MS = 5000;
/** 4096 proxies have about 3 MiB. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;

/** Creates the reader of a dashboard. */
export function createFrpsGet({ url, user, password }: FrpsApi): FrpsGet {
  const base = url.replace(/\/+$/u, '');
  const isOpen = user === '' && password === '';
  const credentials = Buffer.from(`${user}:${password}`).toString('base64');
  return async (path, signal) => {
    const fail = (why: string, cause?: unknown, hint?: string): EdgeError =>
      new EdgeError(FRPS_ERROR, `GET ${base}${path}: ${why}`, {
        cause,
        retryable: true,
        ...(hint === undefined ? {} : { hint }),
      });
    const start = base.startsWith('https:') ? httpsRequest : httpRequest;
    let text: string;
    try {
      const answer = await new Promise<IncomingMessage>((resolve, reject) => {
        start(`${base}${path}`, {
          headers: isOpen ? {} : { authorization: `Basic ${credentials}` },
          timeout: TIMEOUT_MS,
          signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
        })
          .on('response', resolve)
          .on('error', reject)
          .end();
      });
      const { statusCode = 0 } = answer;
      text = await readText(answer);
      if (statusCode === 401)
        throw fail('401, user or password is wrong', undefined, 'FRP_SERVER_HTTPAUTHUSERNAME and PASSWORD');
      if (statusCode !== 200) throw fail(`status ${statusCode}`);
    } catch (err) {
      if (err instanceof EdgeError) throw err;
      const isTimeout = err instanceof Error && /^(?:Abort|Timeout)Error$/u.test(err.name);
      throw fail(isTimeout ? `no answer in ${TIMEOUT_MS / 1000}s` : errorMessage(err), err);
    }
    try {
      return JSON.parse(text) as unknown;
    } catch (err) {
      throw fail('the answer is not JSON; is this the dashboard of a frps?', err);
    }
  };
}

async function readText(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new Error(`the answer is longer than ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
