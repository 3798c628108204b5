/** `edge ctl restore FILE`: replaces all objects of a running node by those of a backup, after the server checked it. */
import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { exchange, readAnswer } from './exchange.ts';
import { createVerb, runVerb } from './verb.ts';

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('restore FILE', 'Replace all objects of a node by those of a backup.')
    .argument('<FILE>', 'a file that "edge ctl backup" wrote')
    .option('--dry-run', 'only have the server check the backup');
  await runVerb(command, argv, async ({ access, settings, print }, [file = '']) => {
    const isDryRun = command.opts<{ dryRun?: boolean }>().dryRun === true;
    const handle = await open(file, 'r');
    const { size } = await handle.stat();
    await handle.close();
    const target = await access();
    const answer = await exchange(target, {
      method: 'POST',
      path: `/edge/v1/restore${isDryRun ? '?dryRun=All' : ''}`,
      headers: { 'content-type': 'application/octet-stream', 'content-length': size },
      idleTimeoutMs: settings.requestTimeout,
      send: (request) =>
        createReadStream(file)
          .on('error', (err) => request.destroy(err))
          .pipe(request),
    });
    const result = JSON.parse(await readAnswer(target, answer)) as { revision: number; objects: number };
    await print(
      isDryRun
        ? `the backup is sound: ${result.objects} objects of revision ${result.revision}\n`
        : `restored ${result.objects} objects; the revision is now ${result.revision}\n`,
    );
  });
}
