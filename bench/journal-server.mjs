// The floor under durable writes of a program in Node: HTTP, a journal that is synced before the answer, writes that came
// meanwhile synced together, and nothing else. `node bench/journal-server.mjs PORT FILE`; every body is written and sent back.
import { fdatasync, openSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';

const [port, file] = process.argv.slice(2);
const fd = openSync(file, 'w');
/** As the API server's journal: most syncs need not make the file longer. */
const ZEROS = Buffer.alloc(256 * 1024);
let end = 0;
let allocated = 0;
let waiting = [];
let isSyncing = false;

function commit() {
  const batch = waiting;
  waiting = [];
  isSyncing = true;
  const frame = Buffer.concat(batch.map(({ body }) => body));
  if (end + frame.length > allocated) {
    writeSync(fd, Buffer.concat([frame, ZEROS]), 0, frame.length + ZEROS.length, end);
    allocated = end + frame.length + ZEROS.length;
  } else writeSync(fd, frame, 0, frame.length, end);
  end += frame.length;
  fdatasync(fd, (err) => {
    if (err !== null) throw err;
    for (const { body, response } of batch) {
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
      response.end(body);
    }
    isSyncing = false;
    if (waiting.length > 0) commit();
  });
}

const server = createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    waiting.push({ body: Buffer.concat(chunks), response });
    // writes of one turn of the event loop share a sync
    if (!isSyncing && waiting.length === 1) setImmediate(() => isSyncing || commit());
  });
});
server.listen(Number(port), '127.0.0.1');
