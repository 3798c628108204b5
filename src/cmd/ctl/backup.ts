/** `edge ctl backup FILE`: a consistent copy of all objects; FILE appears when it is whole and checked. */
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { open, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from '../../lib/atomic-file.ts';
import { EdgeError } from '../../lib/errors.ts';
import { exchange, readAnswer } from './exchange.ts';
import { createVerb, runVerb } from './verb.ts';

/** The first line of a backup is far shorter. */
const MAX_HEADER_BYTES = 4096;

interface Header {
  revision: number;
  objects: number;
  bytes: number;
  sha256: string;
}

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb(
    'backup FILE',
    'Save all objects of a node, at one revision, in a file.',
  ).argument('<FILE>', 'where to write; replaced as a whole');
  await runVerb(command, argv, async ({ access, settings, print }, [file = '']) => {
    const target = await access();
    const answer = await exchange(target, {
      method: 'GET',
      path: '/edge/v1/backup',
      idleTimeoutMs: settings.requestTimeout,
    });
    if (answer.statusCode !== 200) await readAnswer(target, answer);
    const { revision, objects, bytes } = await save(answer, file);
    await print(`backup of revision ${revision}: ${objects} objects, ${bytes} bytes, in ${file}\n`);
  });
}

/** Writes an answer to a file, compares it with what its header promises, and only then gives it its name. */
async function save(answer: IncomingMessage, file: string): Promise<Header> {
  const temporary = `${file}.${process.pid}.tmp`;
  const handle = await open(temporary, 'wx', 0o600);
  try {
    const hash = createHash('sha256');
    let head = Buffer.alloc(0);
    let header: Header | undefined;
    let bytes = 0;
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      await handle.writeFile(chunk);
      let body = chunk;
      if (header === undefined) {
        head = Buffer.concat([head, chunk]);
        const end = head.indexOf('\n');
        if (end === -1 && head.length <= MAX_HEADER_BYTES) continue;
        header = JSON.parse(head.subarray(0, end).toString()) as Header;
        body = head.subarray(end + 1);
      }
      hash.update(body);
      bytes += body.length;
    }
    if (header === undefined || header.bytes !== bytes || header.sha256 !== hash.digest('hex'))
      throw new EdgeError(
        'EDGE_ERR_CTL_BACKUP',
        `backup: ${bytes} bytes arrived that do not fit their checksum`,
      );
    await handle.sync();
    await handle.close();
    await rename(temporary, file);
    await syncDirectory(dirname(file));
    return header;
  } catch (err) {
    await handle.close().catch(() => {}); // closed already when the rename failed
    await unlink(temporary).catch(() => {}); // gone already when the directory could not be synced
    throw err;
  }
}
