import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collect, createStreamPair } from '../../../test/support/stream-pair.ts';
import { waitFor } from '../../../test/support/wait.ts';
import { errorCode } from '../../lib/errors.ts';
import { TUNNEL_ERRORS } from '../errors.ts';
import { acceptServerHello, answerClientHello, createClientHello, V2Handshake } from './v2-handshake.ts';

const CLIENT_RANDOM = Buffer.alloc(32, 0x11);
const SERVER_RANDOM = Buffer.alloc(32, 0x22);
const BOOTSTRAP = { transport: 'tcp', tls: true, tcpMux: true };

test('writes the hellos as frp does, without the members that are false', () => {
  assert.equal(
    createClientHello(BOOTSTRAP, CLIENT_RANDOM).toString(),
    '{"bootstrap":{"transport":"tcp","tls":true,"tcpMux":true},"capabilities":{"message":{"codecs":["json"]},' +
      '"crypto":{"algorithms":["aes-256-gcm"],"clientRandom":"ERERERERERERERERERERERERERERERERERERERERERE="}}}',
  );
  assert.match(
    createClientHello({ transport: 'websocket', tls: false, tcpMux: false }, CLIENT_RANDOM).toString(),
    /^\{"bootstrap":\{"transport":"websocket"\},/u,
  );
});

function offer(changes: Record<string, unknown>, codecs: unknown = ['json']): Buffer {
  const crypto = { algorithms: ['aes-256-gcm'], clientRandom: CLIENT_RANDOM.toString('base64'), ...changes };
  return Buffer.from(JSON.stringify({ capabilities: { message: { codecs }, crypto } }));
}

test('the server takes the first algorithm it has, and both sides agree on the context', () => {
  const hello = offer({ algorithms: ['xchacha20-poly1305', 'aes-256-gcm'] });
  const { payload, context, problem } = answerClientHello(hello, SERVER_RANDOM);
  assert.equal(problem, undefined);
  assert.equal(
    payload.toString(),
    '{"selected":{"message":{"codec":"json"},"crypto":{"algorithm":"aes-256-gcm",' +
      '"serverRandom":"IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI="}}}',
  );
  assert.deepEqual(acceptServerHello(hello, payload), context);
});

for (const [what, hello] of [
  ['no codec in common', offer({}, ['protobuf'])],
  ['no algorithm in common', offer({ algorithms: ['xchacha20-poly1305'] })],
  ['algorithms that are no list', offer({ algorithms: 'aes-256-gcm' })],
  ['a random number one byte short', offer({ clientRandom: Buffer.alloc(31).toString('base64') })],
  ['no random number', offer({ clientRandom: null })],
  ['nothing at all', Buffer.from('{}')],
  ['null', Buffer.from('null')],
] as const) {
  test(`the server refuses a hello with ${what}, and the client hears it`, () => {
    const { payload, context, problem } = answerClientHello(hello, SERVER_RANDOM);
    assert.equal(context, undefined);
    assert.equal(typeof problem, 'string');
    assert.throws(() => acceptServerHello(hello, payload), { code: TUNNEL_ERRORS.loginRefused });
  });
}

test('names of members are matched without case, as Go does', () => {
  const hello = Buffer.from(
    offer({}).toString().replace('capabilities', 'CAPABILITIES').replace('crypto', 'Crypto'),
  );
  assert.equal(answerClientHello(hello, SERVER_RANDOM).problem, undefined);
});

test('a hello that is no JSON is refused by both sides', () => {
  assert.throws(() => answerClientHello(Buffer.from('{'), SERVER_RANDOM), { code: TUNNEL_ERRORS.protocol });
  assert.throws(() => acceptServerHello(offer({}), Buffer.from('')), { code: TUNNEL_ERRORS.protocol });
});

function choice(crypto: Record<string, unknown>, codec: unknown = 'json'): Buffer {
  const chosen = { algorithm: 'aes-256-gcm', serverRandom: SERVER_RANDOM.toString('base64'), ...crypto };
  return Buffer.from(JSON.stringify({ selected: { message: { codec }, crypto: chosen } }));
}

for (const [what, hello] of [
  ['another codec', choice({}, 'gob')],
  ['an algorithm that was not offered', choice({ algorithm: 'xchacha20-poly1305' })],
  ['no algorithm', choice({ algorithm: undefined })],
  ['a random number one byte long', choice({ serverRandom: Buffer.alloc(33).toString('base64') })],
  ['nothing chosen', Buffer.from('{}')],
] as const) {
  test(`the client refuses ${what}`, () => {
    assert.throws(() => acceptServerHello(offer({}), hello), { code: TUNNEL_ERRORS.protocol });
  });
}

test('a hello out of turn is refused, and no keys come of half a handshake', () => {
  const [client, server] = [new V2Handshake('client'), new V2Handshake('server')];
  const [left] = createStreamPair();
  assert.throws(() => server.secure(left, 'secret'), { code: TUNNEL_ERRORS.protocol });
  const opening = client.open(BOOTSTRAP);
  assert.throws(() => client.receive(opening), { code: TUNNEL_ERRORS.protocol });
  const { answer } = server.receive(opening);
  assert.throws(() => server.receive(opening), { code: TUNNEL_ERRORS.protocol });
  assert.ok(answer);
  assert.throws(() => new V2Handshake('client').receive(answer), { code: TUNNEL_ERRORS.protocol });
  client.receive(answer);
  assert.throws(() => client.receive(answer), { code: TUNNEL_ERRORS.protocol });
});

/** Lets both ends talk under keys of a handshake in which `change` altered the hellos on their way. */
async function talk(
  change: { client?: (hello: Buffer) => Buffer; server?: (hello: Buffer) => Buffer },
  tokens: [string, string] = ['secret', 'secret'],
): Promise<ReturnType<typeof collect>> {
  const [client, server] = [new V2Handshake('client'), new V2Handshake('server')];
  const { client: changeClient = (hello: Buffer) => hello, server: changeServer = (hello: Buffer) => hello } =
    change;
  const opening = client.open(BOOTSTRAP);
  const { answer } = server.receive({ ...opening, payload: changeClient(opening.payload) });
  assert.ok(answer);
  client.receive({ ...answer, payload: changeServer(answer.payload) });
  const [left, right] = createStreamPair();
  const near = client.secure(left, tokens[0]);
  collect(near);
  const seen = collect(server.secure(right, tokens[1]));
  near.write(Buffer.from('hello'));
  await waitFor(() => seen.bytes > 0 || seen.isClosed, { what: 'data or close', intervalMs: 1 });
  near.destroy();
  return seen;
}

test('both ends understand each other after the hellos, whatever the token', async () => {
  assert.equal((await talk({})).text(), 'hello');
  assert.equal((await talk({}, ['', ''])).text(), 'hello');
});

test('a hello changed on its way, even where it still means the same, ends the connection', async () => {
  const spaced = (hello: Buffer): Buffer => Buffer.concat([hello, Buffer.from(' ')]);
  const replaced = (hello: Buffer): Buffer =>
    Buffer.from(hello.toString().replace('"tls":true', '"tls":null'));
  for (const change of [{ client: spaced }, { server: spaced }, { client: replaced }]) {
    const seen = await talk(change);
    assert.equal(seen.bytes, 0);
    assert.equal(errorCode(seen.error), TUNNEL_ERRORS.protocol);
  }
});

test('ends with different tokens do not understand each other', async () => {
  assert.equal(errorCode((await talk({}, ['secret', 'other'])).error), TUNNEL_ERRORS.protocol);
});
