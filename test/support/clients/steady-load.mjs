// A steady load on a Redis behind a name: `steady-load.mjs HOST PORT PER_SECOND HELD`. Opens PER_SECOND connections a
// second for one PING each, and keeps HELD connections that ask again and again. Prints a JSON line for each event, with
// times of the machine's monotonic clock in milliseconds:
// `{ kind: "new", at, ms, error? }` a new connection was answered or failed, `ms` after `at`;
// `{ kind: "lost", at, error }` a held connection broke;
// `{ kind: "state", at, overdue }` so many connections have waited for an answer for more than a second.
import { connect } from 'node:net';

const [host = '', port = '', perSecond = '', held = ''] = process.argv.slice(2);
const GIVE_UP_MS = 30_000;
/** A held connection asks this long after an answer. */
const ASK_EVERY_MS = 100;
/** A held connection that breaks is replaced after this. */
const REOPEN_MS = 100;
/** An answer is overdue after this. */
const OVERDUE_MS = 1000;
const REPORT_STATE_MS = 500;
const ANSWER = '+PONG\r\n';

const now = () => Number(process.hrtime.bigint()) / 1e6;
const report = (event) => console.log(JSON.stringify(event));

/** When each unanswered question was asked. */
const questions = new Map();

/** Asks on a connection; calls back with what was wrong, or nothing. */
function ask(socket, done) {
  if (socket.destroyed) return done('closed');
  let heard = '';
  const end = (error) => {
    clearTimeout(limit);
    questions.delete(socket);
    socket.off('data', onData).off('error', onError).off('close', onClose);
    done(error);
  };
  const onData = (chunk) => {
    heard += chunk;
    if (heard.length >= ANSWER.length) end(heard === ANSWER ? undefined : 'wrong answer');
  };
  const onError = (err) => end(err.code ?? err.message);
  const onClose = () => end('closed');
  const limit = setTimeout(end, GIVE_UP_MS, 'no answer');
  socket.on('data', onData).on('error', onError).on('close', onClose);
  questions.set(socket, now());
  socket.write('PING\r\n');
  return undefined;
}

function open() {
  const socket = connect({ host, port: Number(port), family: 4 });
  socket.setEncoding('latin1').on('error', () => {}); // told to whoever asks at that time
  return socket;
}

function openNew() {
  const at = now();
  const socket = open();
  ask(socket, (error) => {
    report({ kind: 'new', at, ms: now() - at, ...(error === undefined ? {} : { error }) });
    socket.destroy();
  });
}

function hold() {
  const socket = open();
  let isUsed = false;
  const askOn = () => {
    ask(socket, (error) => {
      if (error === undefined) {
        isUsed = true;
        setTimeout(askOn, ASK_EVERY_MS);
        return;
      }
      if (isUsed) report({ kind: 'lost', at: now(), error });
      socket.destroy();
      setTimeout(hold, REOPEN_MS);
    });
  };
  askOn();
}

for (let at = 0; at < Number(held); at++) hold();
setInterval(() => {
  const at = now();
  const overdue = [...questions.values()].filter((asked) => at - asked > OVERDUE_MS).length;
  report({ kind: 'state', at, overdue });
}, REPORT_STATE_MS);
setInterval(openNew, 1000 / Number(perSecond));
