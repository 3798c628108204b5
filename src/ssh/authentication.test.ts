/** Unit tests of the order in which ways of logging in are tried. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { planAuthentication } from './authentication.ts';
import type { AuthMethod, AuthPlan } from './authentication.ts';
import { SshError } from './errors.ts';

const never = (): never => assert.fail('nobody gives up');

/** The types of the methods that come when the server refuses all of them. */
async function order(
  plan: AuthPlan,
  ...allowed: (readonly string[] | undefined)[]
): Promise<(string | false)[]> {
  const types: (string | false)[] = [];
  for (const each of allowed) {
    const method = await plan.next(each);
    types.push(method === false ? false : method.type);
  }
  return types;
}

test('the server is asked first, then comes what it accepts, each as often as it makes sense', async () => {
  const attempts: number[] = [];
  const methods: AuthMethod[] = [
    { kind: 'agent', socket: '/agent' },
    {
      kind: 'password',
      ask: (attempt) => {
        attempts.push(attempt);
        return Promise.resolve('secret');
      },
    },
  ];
  const both = ['publickey', 'password'];
  const plan = planAuthentication('ann', methods, never);
  assert.deepEqual(await order(plan, undefined, both, both, both, both, both), [
    'none',
    'agent',
    'password',
    'password',
    'password',
    false,
  ]);
  assert.deepEqual(attempts, [1, 2, 3]);
  assert.deepEqual([plan.tried, plan.allowed], [['agent', 'password'], both]);
});

test('what the server does not accept yet is kept for when it does', async () => {
  const methods: AuthMethod[] = [
    { kind: 'agent', socket: '/agent' },
    { kind: 'password', ask: () => Promise.resolve('secret') },
  ];
  const plan = planAuthentication('ann', methods, never);
  assert.deepEqual(await order(plan, undefined, ['password'], ['publickey'], ['publickey']), [
    'none',
    'password',
    'agent',
    false,
  ]);
});

test('keys that cannot be used are passed over and said, and nobody to ask is no try', async () => {
  const methods: AuthMethod[] = [
    { kind: 'key', name: 'a', load: () => Promise.resolve(undefined) },
    { kind: 'key', name: 'b', load: () => Promise.reject(new SshError('key', 'b: not a key')) },
    { kind: 'password', ask: () => Promise.resolve(undefined) },
  ];
  const plan = planAuthentication('ann', methods, never);
  assert.deepEqual(await order(plan, undefined, ['publickey', 'password']), ['none', false]);
  assert.deepEqual([plan.tried, plan.problems], [[], ['b: not a key']]);
});

test('who gives up ends it, at a password and at a question', async () => {
  const givenUp = new SshError('given-up', 'enough');
  const password: AuthMethod = { kind: 'password', ask: () => Promise.reject(givenUp) };
  await assert.rejects(planAuthentication('ann', [password], never).next(['password']), givenUp);
  const questions: AuthMethod = { kind: 'keyboard-interactive', ask: () => Promise.reject(givenUp) };
  const heard = await new Promise((resolve) => {
    const plan = planAuthentication('ann', [questions], resolve);
    void plan.next(['keyboard-interactive']).then((method) => {
      assert.ok(method !== false && method.type === 'keyboard-interactive');
      method.prompt('', '', '', [{ prompt: 'Code: ', echo: false }], () =>
        assert.fail('nothing is answered'),
      );
    });
  });
  assert.equal(heard, givenUp);
});

test('as many answers as questions, also when there is none', async () => {
  const method = await planAuthentication(
    'ann',
    [{ kind: 'keyboard-interactive', ask: () => Promise.resolve(undefined) }],
    never,
  ).next(['keyboard-interactive']);
  assert.ok(method !== false && method.type === 'keyboard-interactive');
  const prompts = [{ prompt: 'a' }, { prompt: 'b' }];
  const answers = await new Promise((resolve) => method.prompt('', '', '', prompts, resolve));
  assert.deepEqual(answers, ['', '']);
});
