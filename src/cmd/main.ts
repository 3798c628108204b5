/** The program: picks the subcommand (also by the name it was called by) and loads only that one. */
import { basename } from 'node:path';
import { commit, protocolVersion, version } from '../lib/build-info.ts';
import { UsageError } from '../lib/errors.ts';
import { suggestion } from '../lib/options.ts';
import { EXIT_USAGE, ExitStatus, reportAndExit } from './exit.ts';

/** A subcommand's module. */
interface Subcommand {
  description: string;
  load: () => Promise<{ run: (argv: readonly string[], programName: string) => Promise<void> }>;
}

const SUBCOMMANDS: Readonly<Record<string, Subcommand>> = {
  apiserver: {
    description: 'serve the node-local Kubernetes API',
    load: () => import('./apiserver.ts'),
  },
  router: {
    description: 'run the frp-compatible tunnel server of this node',
    load: () => import('./router.ts'),
  },
  syncer: {
    description: "mirror the peers' Routers into the local API",
    load: () => import('./syncer.ts'),
  },
  sidecar: {
    description: 'bring remote services to loopback, publish local ones, answer their names',
    load: () => import('./sidecar.ts'),
  },
  ctl: {
    description: 'inspect and operate nodes, Routers and services',
    load: () => import('./ctl/main.ts'),
  },
};

const VERSION_TEXT = `edge ${version} (commit ${commit}, frp protocol ${protocolVersion})`;

// written here and not by commander, which would cost every start its loading
function help(): string {
  const rows = Object.entries(SUBCOMMANDS).map(([name, { description }]) => [name, description]);
  const flags = [
    ['-V, --version', 'print version, commit and protocol version'],
    ['-h, --help', 'print this help'],
  ];
  const lines = (pairs: readonly string[][]): string =>
    pairs.map(([name = '', text = '']) => `  ${name.padEnd(13)}  ${text}\n`).join('');
  return `Usage: edge SUBCOMMAND [ARGUMENTS] [flags]

Reach services by name across edge nodes behind NAT.

Subcommands:
${lines(rows)}
Flags:
${lines(flags)}
Run "edge SUBCOMMAND --help" for the flags of a subcommand.
`;
}

async function main(): Promise<void> {
  const calledAs = basename(process.argv[1] ?? 'edge').replace(/\.c?js$/u, '');
  const byLink = /^edge-(.+)$/u.exec(calledAs)?.[1];
  const args = process.argv.slice(2);
  let name = byLink !== undefined && Object.hasOwn(SUBCOMMANDS, byLink) ? byLink : args.shift();
  if (name === 'help' && args[0] !== undefined) [name, args[0]] = [args[0], '--help'];
  if (name === undefined) {
    process.stderr.write(help());
    throw new ExitStatus(EXIT_USAGE);
  }
  if (name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(help());
    return;
  }
  const chosen = Object.hasOwn(SUBCOMMANDS, name) ? SUBCOMMANDS[name] : undefined;
  const isVersion = chosen === undefined ? name === '--version' || name === '-V' : args[0] === '--version';
  if (isVersion && (chosen === undefined || args.length === 1)) {
    process.stdout.write(`${VERSION_TEXT}\n`);
    return;
  }
  if (chosen === undefined) {
    const what = name.startsWith('-') ? 'option' : 'subcommand';
    throw new UsageError(`unknown ${what} "${name}"${suggestion(name, Object.keys(SUBCOMMANDS))}`, {
      hint: 'run "edge --help" for the subcommands',
    });
  }
  const { run } = await chosen.load();
  await run(args, name === byLink ? calledAs : `edge ${name}`);
}

main().catch(reportAndExit);
