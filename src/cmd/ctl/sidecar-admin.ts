/** What verbs ask of the sidecar of this host: its admin surface, and what to say when there is none. */
import { createApiClient } from '../../apiclient/client.ts';
import { EdgeError } from '../../lib/errors.ts';

/** Where a sidecar of this host answers unless it was told otherwise. */
export const SIDECAR_ADMIN = 'http://127.0.0.1:7460';
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

/** Asks for JSON. Rejects when nobody answers, or with what the sidecar says is wrong. */
export async function askSidecar<T>(url: string, path: string, timeoutMs: number): Promise<T> {
  const client = createApiClient(
    { server: url },
    { requestTimeoutMs: timeoutMs, maxResponseBytes: MAX_ANSWER_BYTES },
  );
  try {
    const { status, text } = await client.request('GET', path);
    if (status === 200) return JSON.parse(text) as T;
    throw new EdgeError('EDGE_ERR_CTL_SIDECAR', problemOf(text) ?? `${url}${path} answered ${status}`, {
      hint: `is it a sidecar that listens at ${url}? --sidecar names another address`,
    });
  } catch (err) {
    if (!(err instanceof EdgeError) || err.code !== 'EDGE_ERR_API_UNREACHABLE') throw err;
    throw new EdgeError('EDGE_ERR_CTL_NO_SIDECAR', `no sidecar answers at ${url}`, {
      hint: 'run this where the application runs, or name the admin address of its sidecar: --sidecar URL',
      retryable: true,
    });
  } finally {
    client.close();
  }
}

function problemOf(text: string): string | undefined {
  try {
    const value = JSON.parse(text) as { error?: unknown };
    return typeof value.error === 'string' ? value.error : undefined;
  } catch {
    return undefined; // another program's page
  }
}
