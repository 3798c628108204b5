/** `edge ctl ssh-proxy NODE`: stdin and stdout are the node's sshd, for ProxyCommand of OpenSSH. */
import type { ByteStream } from '../../tunnel/byte-stream.ts';
import { HIGH_WATER_BYTES } from '../../tunnel/byte-stream.ts';
import { systemClock } from '../../lib/clock.ts';
import { UsageError } from '../../lib/errors.ts';
import { addOptions, readOptions } from '../options.ts';
import { dialNode, readCredentials, tunnelOptions } from './node-tunnel.ts';
import { createVerb, runVerb } from './verb.ts';

const HELP = `
Example of ~/.ssh/config:
  Host *.edge
    ProxyCommand edge ctl ssh-proxy $(basename %h .edge)

  ssh -o ProxyCommand="edge ctl ssh-proxy %h" admin@node-7`;

/** Runs the verb; ends with the connection. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb('ssh-proxy NODE', "Connect stdin and stdout to a node's sshd.")
    .argument('<NODE>', 'name or id of the node')
    .allowExcessArguments(false)
    .addHelpText('after', HELP);
  addOptions(command, tunnelOptions);
  await runVerb(command, argv, async ({ client }, [node]) => {
    if (node === undefined) throw new UsageError('ssh-proxy: which node?');
    const credentials = readCredentials(readOptions(command, tunnelOptions));
    const deps = { api: client, clock: systemClock, random: Math.random };
    const connection = await dialNode(node, credentials, deps);
    try {
      await joinStdio(connection.stream, process.stdin, process.stdout);
    } finally {
      await connection.close();
    }
  });
}

/** Carries bytes both ways until the stream is over; rejects with what broke it. */
function joinStdio(stream: ByteStream, input: NodeJS.ReadStream, output: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve, reject) => {
    const onInput = (chunk: Buffer): void => {
      stream.write(chunk);
      if (stream.queuedBytes > HIGH_WATER_BYTES) input.pause();
    };
    const onInputEnd = (): void => stream.end();
    const onOutputDrain = (): void => stream.resume();
    const done = (err?: Error): void => {
      input.off('data', onInput).off('end', onInputEnd).off('error', onInputEnd);
      input.destroy();
      output.off('drain', onOutputDrain);
      // what is queued for stdout goes out first
      output.write('', () => (err === undefined ? resolve() : reject(err)));
    };
    stream.setHandler({
      onData(chunk) {
        if (!output.write(chunk)) stream.pause();
      },
      onEnd: () => stream.end(), // ssh has no use for a connection that only sends
      onDrain: () => void input.resume(),
      onClose: done,
    });
    output.on('drain', onOutputDrain);
    input.on('data', onInput).on('end', onInputEnd).on('error', onInputEnd);
    stream.resume();
  });
}
