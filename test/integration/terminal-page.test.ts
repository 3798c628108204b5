/** The page of terminals in a real browser: token, nodes, a shell on a node, its end, the replay of its recording. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { openBrowser } from '../support/browser.ts';
import { NODE_OBJECT, startMaintenanceWorld, TOKENS } from '../support/maintenance-world.ts';
import { requireProgram } from '../support/programs.ts';

/** What the terminal shows, as text. */
const SCREEN = "document.querySelector('.xterm-rows').textContent";
const byId = (id: string): string => `document.getElementById('${id}')`;
/** EDGE_TEST_SCREENSHOT names the beginning of PNG files to write. */
const PICTURE = process.env['EDGE_TEST_SCREENSHOT'];

test('an operator opens a shell from the page, and sees its recording afterwards', async (t) => {
  const chromium = requireProgram(t, 'chromium');
  if (chromium === undefined) return;
  const world = await startMaintenanceWorld(t, {
    apiserver: ['--adapter-require-token', '--terminal-certificates'],
  });
  if (world === undefined) return;
  const { adapter, sshd } = world;
  const answer = await fetch(`${adapter}/terminal/`);
  assert.match(
    answer.headers.get('content-security-policy') ?? '',
    /default-src 'none'; script-src 'self';/u,
  );

  const page = await openBrowser(t, chromium, `${adapter}/terminal/#${NODE_OBJECT}`);
  const picture = async (name: string): Promise<void> => {
    if (PICTURE !== undefined) await page.screenshot(`${PICTURE}-${name}.png`);
  };
  await page.until("document.body?.dataset.ready === 'token'", 'the question for a token');
  const signIn = async (token: string): Promise<void> => {
    await page.evaluate(`${byId('token')}.focus()`);
    await page.type(`${token}\n`);
  };
  await signIn('wrong');
  await page.until(
    `document.body.dataset.ready === 'token' && ${byId('token')}.value === ''`,
    'the wrong token to be refused',
  );
  await signIn(TOKENS.admin);
  await page.until("document.body.dataset.ready === 'true'", 'the nodes');
  assert.equal(await page.evaluate(`${byId('operator')}.textContent`), 'admin@example.org');
  assert.match(await page.evaluate(`${byId('nodes')}.textContent`), /node-7online/u);
  assert.equal(await page.evaluate(`${byId('filter')}.value`), NODE_OBJECT);
  await picture('nodes');

  // with a certificate that is made on the spot
  await page.evaluate(
    `${byId('user')}.value = ${JSON.stringify(sshd.user)}; document.querySelector('[value=issue]').click()`,
  );
  await page.evaluate(`document.querySelector('#nodes button').click()`);
  await page.until(`${byId('state')}.textContent === 'connected, recorded'`, 'the shell');
  assert.equal(await page.evaluate(`${byId('title')}.textContent`), `${sshd.user}@node-7`);
  await page.type(
    "PS1='node-7# '; clear; printf '\\033[1;32mgre%s\\033[0m\\n' en; stty size; ls --color=always /\n",
  );
  await page.until(`/green/.test(${SCREEN}) && /usr/.test(${SCREEN})`, 'the output');
  const [, rows, cols] = /(\d+) (\d+)/u.exec(await page.evaluate<string>(SCREEN)) ?? [];
  assert.ok(Number(cols) > 80 && Number(rows) > 24, `the terminal fills the page: ${cols}x${rows}`);
  await picture('shell');
  await page.type('exit 5\n');
  await page.until(`${byId('state')}.textContent === 'ended with status 5'`, 'the end of the shell');

  // another account's key
  await page.evaluate(
    `document.querySelector('[value=key]').click(); ${byId('private-key')}.value = ${JSON.stringify(readFileSync(sshd.userKey, 'utf8'))}; ${byId('user')}.value = 'nobody-here'`,
  );
  await page.evaluate(`document.querySelector('#nodes button').click()`);
  await page.until(`/lets nobody in/.test(${byId('state')}.textContent)`, 'the refusal');

  await page.until(`document.querySelector('#recordings button')`, 'the recording');
  await page.evaluate(`document.querySelector('#recordings button').click()`);
  await page.until(`${byId('state')}.textContent === 'recording'`, 'the player');
  await page.evaluate(
    `${byId('seek')}.value = ${byId('seek')}.max; ${byId('seek')}.dispatchEvent(new Event('input'))`,
  );
  await page.until(`/green/.test(${SCREEN})`, 'the recorded output');
  await picture('replay');

  await world.sidecar?.kill();
  await page.until(`/offline/.test(${byId('nodes')}.textContent)`, 'the node to be shown offline');
  assert.equal(await page.evaluate(`document.querySelector('#nodes button').disabled`), true);
  // a refusal by the server is told by the browser as well
  const expected = page.problems.filter((problem) => !/401 \(/u.test(problem));
  assert.deepEqual(expected, []);
  assert.doesNotMatch(
    await page.evaluate('document.documentElement.outerHTML'),
    new RegExp(TOKENS.admin, 'u'),
  );
});
