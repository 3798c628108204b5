/** A headless Chromium driven over the DevTools protocol: pages, what they show and log, keys, pictures. */
import { writeFileSync } from 'node:fs';
import { WebSocket } from 'ws';
import { startProcess } from './processes.ts';
import type { TestLike, TestProcess } from './processes.ts';
import { tempDir } from './temp-dir.ts';
import { waitFor } from './wait.ts';

interface Reply {
  id?: number;
  method?: string;
  params?: Record<string, unknown>;
  result?: Record<string, unknown>;
  error?: { message: string };
  sessionId?: string;
}

/** One page. */
export interface Page {
  /** Evaluates an expression, or a promise of one, in the page; rejects with what it threw. */
  evaluate<T>(expression: string): Promise<T>;
  /** Waits until an expression is truthy. */
  until(expression: string, what: string): Promise<void>;
  /** Types text into what has the focus; a line feed is Enter. */
  type(text: string): Promise<void>;
  /** Writes a PNG of what is seen. */
  screenshot(file: string): Promise<void>;
  /** What the page complained about: exceptions, errors, refusals by its policy. */
  readonly problems: string[];
}

/** Starts the browser with one page; ended after the test. */
export async function openBrowser(t: TestLike, chromium: string, url: string): Promise<Page> {
  let browser: TestProcess | undefined;
  t.after(() => browser?.kill()); // before its directory goes, in which it writes to the end
  const profile = tempDir(t);
  const child = startProcess(
    t,
    chromium,
    [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-dev-shm-usage',
      '--disable-background-networking',
      '--remote-debugging-port=0',
      `--user-data-dir=${profile}`,
      '--window-size=1280,800',
      'about:blank',
    ],
    { name: 'chromium' },
  );
  browser = child;
  const line = await child.waitForLine(/DevTools listening on (ws:\/\/\S+)/u, 60_000);
  const [, address = ''] = /(ws:\/\/\S+)/u.exec(line) ?? [];
  const socket = new WebSocket(address, { perMessageDeflate: false });
  t.after(() => socket.terminate());
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  return openPage(socket, url);
}

async function openPage(socket: WebSocket, url: string): Promise<Page> {
  const waiting = new Map<
    number,
    { resolve: (reply: Record<string, unknown>) => void; reject: (err: Error) => void }
  >();
  const problems: string[] = [];
  let serial = 0;
  let sessionId: string | undefined;
  const send = (method: string, params: object = {}): Promise<Record<string, unknown>> =>
    new Promise((resolve, reject) => {
      const id = ++serial;
      waiting.set(id, { resolve, reject });
      socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }));
    });
  socket.on('close', () => {
    for (const { reject } of waiting.values()) reject(new Error('the browser has gone'));
  });
  socket.on('message', (data: Buffer) => {
    const { id, method, params = {}, result, error } = JSON.parse(data.toString()) as Reply;
    if (method !== undefined) note(method, params, problems);
    const waiter = id === undefined ? undefined : waiting.get(id);
    if (id !== undefined) waiting.delete(id);
    if (error !== undefined) waiter?.reject(new Error(error.message));
    else waiter?.resolve(result ?? {});
  });

  const { targetId } = await send('Target.createTarget', { url: 'about:blank' });
  ({ sessionId } = (await send('Target.attachToTarget', { targetId, flatten: true })) as {
    sessionId: string;
  });
  for (const domain of ['Page', 'Runtime', 'Log']) await send(`${domain}.enable`);
  await send('Page.navigate', { url });

  const evaluate = async <T>(expression: string): Promise<T> => {
    const { result, exceptionDetails } = (await send('Runtime.evaluate', {
      expression,
      awaitPromise: true,
      returnByValue: true,
    })) as {
      result: { value: T };
      exceptionDetails?: { text: string; exception?: { description?: string } };
    };
    if (exceptionDetails !== undefined)
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  return {
    problems,
    evaluate,
    async until(expression, what) {
      await waitFor(() => evaluate<boolean>(`Boolean(${expression})`), { what });
    },
    async type(text) {
      for (const part of text.split(/(\n)/u)) {
        if (part === '\n') {
          const key = { key: 'Enter', code: 'Enter', windowsVirtualKeyCode: 13, text: '\r' };
          await send('Input.dispatchKeyEvent', { type: 'keyDown', ...key });
          await send('Input.dispatchKeyEvent', { type: 'keyUp', ...key });
        } else if (part !== '') await send('Input.insertText', { text: part });
      }
    },
    async screenshot(file) {
      const { data } = (await send('Page.captureScreenshot', { format: 'png' })) as { data: string };
      writeFileSync(file, Buffer.from(data, 'base64'));
    },
  };
}

/** Keeps what a page should not have to say. */
function note(method: string, params: Record<string, unknown>, problems: string[]): void {
  if (method === 'Runtime.exceptionThrown') problems.push(JSON.stringify(params['exceptionDetails']));
  if (method === 'Runtime.consoleAPICalled' && ['error', 'warning'].includes(String(params['type'])))
    problems.push(JSON.stringify(params['args']));
  if (method === 'Log.entryAdded') {
    const { level, text, source } = params['entry'] as { level: string; text: string; source: string };
    if (level === 'error' || level === 'warning') problems.push(`${source}: ${text}`);
  }
}
