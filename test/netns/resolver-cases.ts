/** Names as the resolvers of programs look for them, with a pod's resolv.conf: glibc, Node, Python and musl. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { World } from '../support/netns-world.ts';
import { START_TIMEOUT_MS } from '../support/netns-world.ts';

const FORMS = ['redis', 'redis.default', 'redis.default.svc', 'redis.default.svc.cluster.local'];
/** What a search list makes of a name that is whole already. */
const GARBAGE = [
  'redis.default.svc.cluster.local.default.svc.cluster.local',
  'redis.default.svc.svc.cluster.local',
];
/** A resolver that waits for one lost answer takes 5 s; one that waits for none, milliseconds. */
const AT_ONCE_MS = 4000;

const NODE_CLIENT = `
const dns = require('dns');
(async () => {
  const result = {};
  for (const name of process.argv.slice(1))
    result[name] = await dns.promises.lookup(name, { all: true }).catch((err) => err.code);
  const whole = 'redis.default.svc.cluster.local';
  result.a = await dns.promises.resolve4(whole);
  result.aaaa = await dns.promises.resolve6(whole).catch((err) => err.code);
  result.srv = await dns.promises.resolveSrv('_6379._tcp.' + whole);
  result.ptr = await dns.promises.reverse(result.a[0]);
  console.log(JSON.stringify(result));
})();`;

const PYTHON_CLIENT = `
import json, socket, sys
def look(name):
    try:
        return sorted({each[4][0] for each in socket.getaddrinfo(name, 6379, type=socket.SOCK_STREAM)})
    except socket.gaierror as err:
        return err.errno == socket.EAI_NONAME and 'EAI_NONAME' or str(err)
result = {name: look(name) for name in sys.argv[1:]}
result['connected'] = socket.create_connection(('redis.default.svc', 6379), 20).getpeername()[0]
result['ptr'] = socket.gethostbyaddr(result['connected'])[0]
print(json.dumps(result))`;

/** Adds the tests to a suite whose consumer maps redis and has a pod's resolv.conf; its upstream knows www.example.org. */
export function resolverCases(world: () => World): void {
  async function run(command: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await world().consumer.host.run(command, {
      timeoutMs: START_TIMEOUT_MS,
    });
    assert.equal(status, 0, `${command[0] ?? ''}: ${stdout}${stderr}`);
    return stdout.trim();
  }

  async function address(): Promise<string> {
    const found = await run(['dig', '+short', 'redis.default.svc.cluster.local']);
    assert.match(found, /^127\.0\.66\.\d+$/u);
    return found;
  }

  test('glibc finds all forms of a name, IPv4 alone, and passes other names on', async () => {
    const expected = await address();
    for (const name of FORMS) {
      const found = (await run(['getent', 'ahosts', name])).split('\n').map((line) => line.split(/\s+/u)[0]);
      assert.deepEqual([...new Set(found)], [expected], name);
    }
    assert.equal((await run(['getent', 'ahostsv4', 'www.example.org'])).split(/\s/u)[0], '192.0.2.80');
    const none = await world().consumer.host.run(['getent', 'hosts', 'nothing.default.svc']);
    assert.equal(none.status, 2, 'a name that nobody maps is found');
  });

  test("Node's two resolvers and Python's agree with it", async () => {
    const expected = await address();
    const node = JSON.parse(await run([process.execPath, '-e', NODE_CLIENT, ...FORMS, 'nothing'])) as Record<
      string,
      unknown
    >;
    for (const name of FORMS) assert.deepEqual(node[name], [{ address: expected, family: 4 }], name);
    assert.equal(node['nothing'], 'ENOTFOUND');
    assert.deepEqual([node['a'], node['aaaa']], [[expected], 'ENODATA']);
    assert.deepEqual(node['srv'], [
      { name: 'redis.default.svc.cluster.local', port: 6379, priority: 0, weight: 100 },
    ]);
    assert.deepEqual(node['ptr'], ['redis.default.svc.cluster.local']);
    const names = [...FORMS, 'www.example.org', 'nothing'];
    const python = JSON.parse(await run(['python3', '-c', PYTHON_CLIENT, ...names])) as Record<
      string,
      unknown
    >;
    for (const name of FORMS) assert.deepEqual(python[name], [expected], name);
    assert.deepEqual(python['www.example.org'], ['192.0.2.80']);
    assert.equal(python['nothing'], 'EAI_NONAME');
    assert.deepEqual([python['connected'], python['ptr']], [expected, 'redis.default.svc.cluster.local']);
  });

  test('musl, which asks for A and AAAA at once and ends its search at the first failure, finds them too', async () => {
    const expected = await address();
    const script = join(process.cwd(), 'test/support/clients/musl-resolve.mjs');
    const names = [...FORMS, 'www.example.org', 'nothing.default.svc'];
    const found = (await run([process.execPath, script, ...names]))
      .split('\n')
      .map((line) => JSON.parse(line) as { name: string; addresses?: string[]; error?: string; ms: number });
    const results = Object.fromEntries(found.map(({ name, addresses, error }) => [name, addresses ?? error]));
    assert.deepEqual(results, {
      ...Object.fromEntries(FORMS.map((name) => [name, [expected]])),
      'www.example.org': ['192.0.2.80'],
      'nothing.default.svc': 'EAI_NONAME',
    });
    for (const { name, ms } of found) assert.ok(ms < AT_ONCE_MS, `${name} took ${ms} ms`);
  });

  test('with the upstream out of reach mapped names resolve at once, search list and all', async (t) => {
    const { host } = world().consumer;
    const expected = await address();
    t.after(() => host.heal());
    host.cut();
    for (const name of GARBAGE) {
      const answer = await run(['dig', '+time=10', '+tries=1', `${name}.`]);
      assert.match(answer, /status: NXDOMAIN/u, name);
      assert.match(answer, /\sSOA\s/u, name);
    }
    for (const name of FORMS) {
      const start = performance.now();
      assert.equal((await run(['getent', 'ahosts', name])).split(/\s/u)[0], expected);
      const ms = performance.now() - start;
      assert.ok(ms < AT_ONCE_MS, `${name} took ${ms} ms`);
    }
  });
}
