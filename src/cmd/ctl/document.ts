/** Reads what the server says of itself: discovery, OpenAPI, its version. */
import type { ApiClient } from '../../apiclient/client.ts';
import { apiError } from '../../apiclient/errors.ts';

/** The JSON document at a path of the server. Rejects with ApiError when it says no. */
export async function readDocument<T>(client: ApiClient, path: string): Promise<T> {
  const answer = await client.request('GET', path);
  if (answer.status >= 400) throw apiError(answer.status, answer.text, client.server);
  return JSON.parse(answer.text) as T;
}
