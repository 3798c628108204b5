/** Web terminals and commands on a real sshd behind a sidecar and a Router: logins, sizes, back-pressure, refusals, audit. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseCast } from '../../src/lib/asciicast.ts';
import { startEdgeReady } from '../support/edge-process.ts';
import { makeAccount, NODE_OBJECT, startMaintenanceWorld, TOKENS } from '../support/maintenance-world.ts';
import { runProcess } from '../support/processes.ts';
import { makeSshKey } from '../support/sshd.ts';
import { tempDir } from '../support/temp-dir.ts';
import { TerminalClient } from '../support/terminal-client.ts';
import type { TerminalOptions } from '../support/terminal-client.ts';
import { waitFor } from '../support/wait.ts';

const PROTOCOL = 'edge.terminal.v1';
const ADMIN = { authorization: `Bearer ${TOKENS.admin}` };

interface Envelope {
  code: number;
  data?: Record<string, unknown>;
  error?: { message: string };
}

async function post(url: string, fields: object, headers: Record<string, string> = ADMIN): Promise<Envelope> {
  const answer = await fetch(url, {
    method: 'POST',
    body: JSON.stringify(fields),
    headers: { 'content-type': 'application/json', ...headers },
  });
  const value = (await answer.json()) as Envelope;
  assert.equal(value.code, answer.status);
  return value;
}

test('terminals: keys, passwords asked for and certificates issued; sizes, large output, exit status, recording', async (t) => {
  const account = await makeAccount(t);
  if (account === undefined) return;
  const world = await startMaintenanceWorld(t, { apiserver: ['--terminal-certificates'] });
  if (world === undefined) return;
  const { adapter, sshd, auditLog, recordingsDir } = world;
  const open = (query: string, options: TerminalOptions = {}): TerminalClient =>
    new TerminalClient(t, `${adapter}/reverse_proxy/${NODE_OBJECT}?${query}`, { headers: ADMIN, ...options });

  // a client that knows nothing but frames: it is asked, as a console asks
  const plain = open('cols=120&rows=40', { headers: {} });
  await plain.waitForOutput(/node-7 login: $/u);
  plain.socket.send(`${account.user}\r`);
  await plain.waitForOutput(/password: $/iu);
  plain.tell({ type: 'cmd', cmd: Buffer.from(`${account.password}\r`).toString('base64') });
  await plain.waitForOutput(/\$ $/u);
  plain.socket.send('stty size; echo "at $USER$LOGNAME"\r');
  await plain.waitForOutput(/\r\n40 120\r\n/u);
  await plain.waitForOutput(new RegExp(`at .*${account.user}`, 'u'));
  plain.tell({ type: 'resize', cols: 99, rows: 33 });
  plain.socket.send('stty size\r');
  await plain.waitForOutput(/\r\n33 99\r\n/u);
  assert.doesNotMatch(plain.output, /right horse/u, 'a password is not echoed');
  plain.socket.send('exit 4\r');
  assert.equal((await plain.waitForClose()).code, 1000);

  // as a browser: a ticket, then the credentials in a message
  const { data } = await post(`${adapter}/reverse_proxy_ticket`, { nm_name: NODE_OBJECT });
  const protocols = [PROTOCOL, `edge.ticket.${String(data?.['ticket'])}`];
  const origin = adapter;
  const browser = open('auth=message', { headers: {}, protocols, origin });
  await browser.open();
  assert.equal(browser.socket.protocol, PROTOCOL);
  browser.tell({ type: 'auth', user: sshd.user, private_key: readFileSync(sshd.userKey, 'utf8') });
  assert.deepEqual(await browser.waitForMessage('ready'), {
    type: 'ready',
    node: 'node-7',
    user: sshd.user,
    recorded: true,
  });
  const again = open('', { headers: {}, protocols, origin });
  assert.equal((await again.waitForRefusal()).status, 401, 'a ticket is good once');

  // output that nobody shows stops the node, and goes on when it is shown
  browser.isReading = false;
  browser.type('head -c 3000000 /dev/zero | tr "\\\\0" x; echo; echo "do""ne"\r');
  await browser.waitForOutput(/xxxxx/u);
  let seen = { bytes: 0, looks: 0 };
  const isStill = (): boolean => {
    seen =
      seen.bytes === browser.bytes ? { ...seen, looks: seen.looks + 1 } : { bytes: browser.bytes, looks: 0 };
    return seen.looks > 25;
  };
  await waitFor(isStill, { what: 'the output to stop' });
  assert.ok(browser.bytes < 1_500_000, `${browser.bytes} bytes came unacknowledged`);
  browser.isReading = true;
  browser.acknowledge();
  await browser.waitForOutput(/done/u, 30_000);
  assert.ok(browser.bytes > 3_000_000);
  browser.type('exit 7\r');
  assert.deepEqual(await browser.waitForMessage('exit'), { type: 'exit', status: 7, signal: null });
  await browser.waitForClose();

  // a caller that goes while the node is stopped leaves nothing behind
  const leaving = open('auth=message', { protocols: [PROTOCOL] });
  await leaving.open();
  leaving.tell({ type: 'auth', user: sshd.user, private_key: readFileSync(sshd.userKey, 'utf8') });
  await leaving.waitForMessage('ready');
  leaving.isReading = false;
  leaving.type('yes\r');
  await waitFor(() => leaving.bytes >= 256 * 1024, { what: 'the node to be stopped' });
  leaving.socket.terminate();
  const isNoted = (): boolean => /"error":"EDGE_ERR_TERMINAL_CLOSED"/u.test(readFileSync(auditLog, 'utf8'));
  await waitFor(isNoted, { what: 'the end of the terminal in the audit log' });

  const issued = open(`user=${sshd.user}&auth=message`, { protocols: [PROTOCOL] });
  await issued.open();
  issued.tell({ type: 'auth', issue: true });
  await issued.waitForMessage('ready');
  await sshd.process.waitForLine(/Accepted publickey .* ED25519-CERT .*ID edge:admin@example\.org:/u);
  issued.type('kill -9 $$\r');
  assert.equal((await issued.waitForMessage('exit'))['signal'], 'SIGKILL');

  const audit = readFileSync(auditLog, 'utf8');
  assert.match(audit, /"verb":"shell".*"event":"opened","user":"[^"]+"/u);
  assert.match(audit, /"user":"admin@example\.org".*"event":"closed".*"exitStatus":7,"recording":"[^"]+"/u);
  assert.doesNotMatch(audit + world.apiserver.stderr, /right horse|PRIVATE KEY/u);

  const names = readdirSync(recordingsDir).sort();
  assert.equal(names.length, 4);
  const cast = parseCast(readFileSync(join(recordingsDir, names[0] ?? ''), 'utf8'));
  assert.deepEqual([cast.header.width, cast.header.height], [120, 40]);
  const recorded = cast.events.map(({ data: text }) => text).join('');
  assert.match(recorded, /33 99/u);
  assert.doesNotMatch(recorded, /right horse/u);
  const listed = await fetch(`${adapter}/terminal/api/recordings`, { headers: ADMIN });
  const entries = ((await listed.json()) as { data: { name: string }[] }).data.map(({ name }) => name);
  assert.deepEqual(entries.sort(), names);
  const text = await fetch(`${adapter}/terminal/api/recordings/${names[0]}`, { headers: ADMIN });
  assert.equal(await text.text(), readFileSync(join(recordingsDir, names[0] ?? ''), 'utf8'));
  const cloud = { authorization: `Bearer ${TOKENS.cloud}` };
  assert.equal((await fetch(`${adapter}/terminal/api/recordings`, { headers: cloud })).status, 403);
});

test('commands answer their output and exit status, within their time and size', async (t) => {
  const world = await startMaintenanceWorld(t, {
    apiserver: ['--terminal-certificates', '--adapter-require-token'],
  });
  if (world === undefined) return;
  const { adapter, sshd, auditLog } = world;
  const login = { user: sshd.user, private_key: readFileSync(sshd.userKey, 'utf8') };
  const run = (cmd: string, more: object = {}, headers?: Record<string, string>): Promise<Envelope> =>
    post(`${adapter}/reverse_proxy_shell`, { nm_name: NODE_OBJECT, cmd, ...login, ...more }, headers);

  const { data } = await run('echo out; echo err >&2; cat; exit 3');
  assert.deepEqual(
    { ...data, ms: 0 },
    { stdout: 'out\n', stderr: 'err\n', exit_status: 3, truncated: false, ms: 0 },
  );
  const large = await run('head -c 3000000 /dev/zero');
  assert.equal(String(large.data?.['stdout']).length, 1024 * 1024);
  assert.deepEqual([large.data?.['truncated'], large.data?.['exit_status']], [true, 0]);
  const slow = await run('sleep 60', { timeout: 1 });
  assert.equal(slow.code, 504);
  assert.match(slow.error?.message ?? '', /did not end in 1s/u);
  const form = new URLSearchParams({ nm_name: NODE_OBJECT, cmd: 'whoami', user: sshd.user, issue: 'true' });
  const issued = await fetch(`${adapter}/reverse_proxy_shell`, {
    method: 'POST',
    body: form,
    headers: ADMIN,
  });
  assert.equal(((await issued.json()) as Envelope).data?.['stdout'], `${sshd.user}\n`);

  const cloud = { authorization: `Bearer ${TOKENS.cloud}` };
  assert.equal((await run('true', {}, cloud)).code, 200);
  const other = readFileSync(await makeSshKey(tempDir(t), 'other'), 'utf8');
  for (const [code, message, more, headers] of [
    [401, /Unauthorized/u, {}, { authorization: 'Bearer wrong' }],
    [401, /Unauthorized/u, {}, { authorization: '' }],
    [403, /none of the roles/u, {}, { authorization: `Bearer ${TOKENS.sidecar}` }],
    [403, /another origin/u, {}, { ...ADMIN, origin: 'http://evil.example.org' }],
    [403, /only a token with the role admin/u, { private_key: '', issue: true }, cloud],
    [403, /lets nobody in/u, { private_key: '', password: 'wrong' }, ADMIN],
    [403, /lets nobody in/u, { private_key: other }, ADMIN],
    [400, /private_key: /u, { private_key: 'no key' }, ADMIN],
    [400, /nothing to log in/u, { private_key: '' }, ADMIN],
    [400, /^user: /u, { user: '' }, ADMIN],
    [400, /^user: /u, { user: '-oProxyCommand=x' }, ADMIN],
    [400, /^timeout: /u, { timeout: 3600 }, ADMIN],
    [404, /not found/u, { nm_name: 'nodemaintenances-other' }, ADMIN],
  ] as const) {
    const refused = await run('true', more, headers);
    assert.equal(refused.code, code, JSON.stringify({ message: String(message), refused }));
    assert.match(refused.error?.message ?? '', message);
  }
  const audit = readFileSync(auditLog, 'utf8');
  assert.match(audit, /"verb":"exec".*"command":"echo out; echo err >&2; cat; exit 3","exitStatus":3/u);
  assert.match(audit, /"verb":"exec".*"code":504.*"command":"sleep 60","error":"EDGE_ERR_SSH_TIMEOUT"/u);

  const refuse = async (query: string, options: TerminalOptions): Promise<number> =>
    (
      await new TerminalClient(
        t,
        `${adapter}/reverse_proxy/${NODE_OBJECT}?${query}`,
        options,
      ).waitForRefusal()
    ).status;
  assert.equal(await refuse('', {}), 401, 'without a token');
  assert.equal(await refuse('', { headers: { authorization: 'Bearer wrong' } }), 401);
  assert.equal(await refuse('', { headers: ADMIN, origin: 'http://evil.example.org' }), 403);
  assert.equal(await refuse('', { protocols: [PROTOCOL, `edge.ticket.${'0'.repeat(64)}`] }), 401);
  assert.equal(await refuse('cols=0&rows=1', { headers: ADMIN }), 400);

  // the sshd has another host key than the one that the node told: somebody is in between
  await world.sidecar?.stop();
  await world.whenState('offline');
  const offline = await run('true');
  assert.equal(offline.code, 503);
  assert.match(offline.error?.message ?? '', /offline/u);
  const keys = tempDir(t);
  writeFileSync(join(keys, 'ssh_host_ed25519_key.pub'), readFileSync(`${sshd.userKey}.pub`));
  world.startSidecar(keys);
  await world.whenState('online');
  const changed = await run('true');
  assert.equal(changed.code, 502);
  assert.match(changed.error?.message ?? '', /host key .* none of those that the node registered with/u);
  const terminal = new TerminalClient(t, `${adapter}/reverse_proxy/${NODE_OBJECT}?user=${sshd.user}`, {
    headers: ADMIN,
    protocols: [PROTOCOL],
  });
  assert.equal((await terminal.waitForMessage('error'))['code'], 'EDGE_ERR_SSH_HOST_KEY');
  assert.match((await terminal.waitForClose()).reason, /host key/u);
});

test('credentials are taken over TLS or on loopback only, and pages of other origins where they are named', async (t) => {
  const dir = tempDir(t);
  const tokens = join(dir, 'tokens.csv');
  writeFileSync(tokens, `${TOKENS.admin},ops,,admin\n`);
  const start = async (...args: string[]): Promise<{ port: string; dataDir: string }> => {
    const dataDir = join(tempDir(t), 'node');
    const child = await startEdgeReady(
      t,
      [
        'apiserver',
        '--data-dir',
        dataDir,
        '--listen',
        '127.0.0.1:0',
        '--token-auth-file',
        tokens,
        '--adapter-listen',
        '0.0.0.0:0',
        ...args,
      ],
      { timeoutMs: 45_000 },
    );
    const [, port = ''] = /adapter listens address=https?:\/\/[^:]+:(\d+)/u.exec(child.stderr) ?? [];
    return { port, dataDir };
  };
  const plain = await start();
  const url = `http://127.0.0.1:${plain.port}`;
  const node = { nm_name: NODE_OBJECT, unique_id: 'node7', frp_server_ip_address: '192.0.2.1', port: '22' };
  assert.equal((await post(`${url}/frp_create`, node)).code, 200);
  // as curl sends it: a method with a body that has none
  const bare = await runProcess('curl', [
    '-s',
    '-X',
    'PUT',
    '-H',
    `authorization: ${ADMIN.authorization}`,
    `${url}/nm_useless`,
  ]);
  assert.equal(bare.stdout, '{"code":200,"data":{"changed":0}}', bare.stderr);
  const form = [
    '-F',
    'unique_id=node8',
    '-F',
    'frp_server_ip_address=192.0.2.1',
    '-F',
    'port=22',
    '-F',
    'status=online',
  ];
  const chunked = ['-H', 'transfer-encoding: chunked', '-H', `authorization: ${ADMIN.authorization}`];
  const parts = await runProcess('curl', ['-s', '-X', 'PUT', ...form, ...chunked, `${url}/frp_update`]);
  assert.match(parts.stdout, /"status":"online"/u, parts.stderr);
  const login = { cmd: 'true', user: 'root', password: 'x' };
  for (const path of ['reverse_proxy_ticket', 'reverse_proxy_shell']) {
    const refused = await post(`${url}/${path}`, { ...node, ...login });
    assert.equal(refused.code, 403);
    assert.match(refused.error?.message ?? '', /in the clear/u);
  }
  const socket = new TerminalClient(t, `${url}/reverse_proxy/${NODE_OBJECT}`, { headers: ADMIN });
  assert.equal((await socket.waitForRefusal()).status, 403);

  const origin = 'https://ops.example.org';
  const { port, dataDir } = await start('--adapter-tls', '--adapter-origin', origin);
  const ask = (path: string, body: object): Promise<number> =>
    new Promise((resolve, reject) => {
      const options = {
        method: 'POST',
        ca: readFileSync(join(dataDir, 'pki/ca.crt')),
        headers: { ...ADMIN, origin, 'content-type': 'application/json' },
      };
      request(`https://127.0.0.1:${port}${path}`, options, (answer) => {
        answer.resume();
        resolve(answer.statusCode ?? 0);
      })
        .on('error', reject)
        .end(JSON.stringify(body));
    });
  assert.equal(await ask('/frp_create', node), 200);
  assert.equal(await ask('/reverse_proxy_ticket', node), 200);
  assert.equal(await ask('/reverse_proxy_shell', { ...node, ...login }), 503, 'the node is offline');
});
