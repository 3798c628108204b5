/** Requests to the API server that served the page. The token lives in this object and nowhere else. */

/** A node, as the server lists it. */
export interface NodeEntry {
  name: string;
  node: string;
  state: string;
  since: string;
  router: string;
  origin: string;
  address: string;
}

/** What the server says about nodes and about who asks. */
export interface Overview {
  operator: string;
  can_issue: boolean;
  has_recordings: boolean;
  nodes: NodeEntry[];
}

/** A recording, as the server lists it. */
export interface RecordingEntry {
  name: string;
  bytes: number;
  time: string;
}

/** An answer that is a failure. */
export class RequestError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The server, for somebody who may have a token. */
export class Server {
  #token = '';

  /** Takes another token; an empty one for none. */
  set token(token: string) {
    this.#token = token;
  }

  overview(): Promise<Overview> {
    return this.#json<Overview>('/terminal/api/nodes');
  }

  recordings(): Promise<RecordingEntry[]> {
    return this.#json<RecordingEntry[]>('/terminal/api/recordings');
  }

  async recording(name: string): Promise<string> {
    const answer = await this.#fetch(`/terminal/api/recordings/${encodeURIComponent(name)}`);
    return answer.text();
  }

  /** A ticket for one WebSocket to a node. */
  async ticket(name: string): Promise<string> {
    const body = JSON.stringify({ nm_name: name });
    const init = { method: 'POST', body, headers: { 'content-type': 'application/json' } };
    const { ticket } = await this.#json<{ ticket: string }>('/reverse_proxy_ticket', init);
    return ticket;
  }

  async #json<T>(path: string, init: RequestInit = {}): Promise<T> {
    const answer = await this.#fetch(path, init);
    const { data } = (await answer.json()) as { data: T };
    return data;
  }

  async #fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.#token !== '') headers.set('authorization', `Bearer ${this.#token}`);
    let answer: Response;
    try {
      answer = await fetch(path, { ...init, headers, credentials: 'omit', cache: 'no-store' });
    } catch {
      throw new RequestError(0, 'the server cannot be reached');
    }
    if (answer.ok) return answer;
    const failure = (await answer.json().catch(() => undefined)) as
      { error?: { message?: string } } | undefined;
    throw new RequestError(answer.status, failure?.error?.message ?? `status ${answer.status}`);
  }
}
