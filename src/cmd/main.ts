/** The program: picks the subcommand (also by the name it was called by) and loads only that one. */
import { basename } from 'node:path';
import { Command } from 'commander';
import { commit, protocolVersion, version } from '../lib/build-info.ts';
import { reportAndExit } from './exit.ts';

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

async function main(): Promise<void> {
  const calledAs = basename(process.argv[1] ?? 'edge').replace(/\.c?js$/u, '');
  const byLink = /^edge-(.+)$/u.exec(calledAs)?.[1];
  const args = process.argv.slice(2);
  const name = byLink !== undefined && byLink in SUBCOMMANDS ? byLink : args.shift();
  const chosen = name === undefined ? undefined : SUBCOMMANDS[name];
  if (name !== undefined && chosen !== undefined) {
    if (args[0] === '--version' && args.length === 1) {
      process.stdout.write(`${VERSION_TEXT}\n`);
      return;
    }
    const { run } = await chosen.load();
    await run(args, name === byLink ? calledAs : `edge ${name}`);
    return;
  }
  const program = new Command('edge')
    .description('Reach services by name across edge nodes behind NAT.')
    .version(VERSION_TEXT, '-V, --version', 'print version, commit and protocol version')
    .showHelpAfterError('run "edge --help" for the subcommands');
  for (const [key, { description }] of Object.entries(SUBCOMMANDS))
    program.command(key).description(description);
  program.exitOverride();
  if (name === undefined) program.help({ error: true });
  await program.parseAsync(['node', 'edge', ...(name === undefined ? [] : [name]), ...args]);
}

main().catch(reportAndExit);
