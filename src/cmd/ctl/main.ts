/** `edge ctl`: picks the verb and loads only that one; failures look and end as kubectl's do. */
import type { CommanderError } from 'commander';
import { errorCode, UsageError } from '../../lib/errors.ts';
import { suggestion } from '../../lib/options.ts';
import { EXIT_FAILURE, EXIT_OK, EXIT_STATUS, ExitStatus } from '../exit.ts';
import { failureText } from './failure.ts';
import type { NodeVerb } from './ssh/verbs.ts';
import { VALUE_FLAGS } from './verb.ts';

interface Verb {
  description: string;
  load: () => Promise<{ run: (argv: readonly string[]) => Promise<void> }>;
}

/** A verb that logs in to nodes. */
async function onNodes(verb: NodeVerb): Promise<{ run: (argv: readonly string[]) => Promise<void> }> {
  const { run } = await import('./ssh/verbs.ts');
  return { run: (argv) => run([verb, ...argv]) };
}

const VERBS: Readonly<Record<string, Verb>> = {
  get: { description: 'print objects', load: () => import('./get.ts') },
  watch: {
    description: 'print objects and then every change, as get --watch does',
    load: () => import('./watch.ts'),
  },
  describe: { description: 'print all there is to know about objects', load: () => import('./describe.ts') },
  apply: { description: 'create or change objects as files say', load: () => import('./apply.ts') },
  create: { description: 'create objects as files say', load: () => import('./create.ts') },
  replace: { description: 'replace objects by what files say', load: () => import('./replace.ts') },
  delete: { description: 'delete objects', load: () => import('./delete.ts') },
  patch: { description: 'change fields of an object', load: () => import('./patch.ts') },
  edit: { description: 'change objects in an editor', load: () => import('./edit.ts') },
  label: { description: 'set and remove labels of objects', load: () => import('./label.ts') },
  annotate: { description: 'set and remove annotations of objects', load: () => import('./annotate.ts') },
  explain: { description: 'say what the fields of a type mean', load: () => import('./explain.ts') },
  'api-resources': {
    description: 'print the types that the server has',
    load: () => import('./api-resources.ts'),
  },
  wait: { description: 'wait for a condition of objects', load: () => import('./wait.ts') },
  status: { description: 'show the whole node at a glance', load: () => import('./status.ts') },
  services: {
    description: 'show the services of all Routers and their providers',
    load: () => import('./services.ts'),
  },
  top: {
    description: 'show what flows through Routers, services and clients',
    load: () => import('./top.ts'),
  },
  trace: {
    description: 'follow a service from its name to its target, hop by hop',
    load: () => import('./trace.ts'),
  },
  'port-forward': {
    description: 'forward a local port to a service',
    load: () => import('./port-forward.ts'),
  },
  nodes: {
    description: 'show the nodes that can be reached for maintenance',
    load: () => import('./nodes.ts'),
  },
  ssh: {
    description: 'open a terminal on a node, or run a command there',
    load: () => onNodes('ssh'),
  },
  exec: { description: 'run a command on one node, or on many', load: () => onNodes('exec') },
  cp: { description: 'copy files to and from nodes', load: () => onNodes('cp') },
  'ssh-proxy': {
    description: "connect stdin and stdout to a node's sshd",
    load: () => import('./ssh-proxy.ts'),
  },
  inject: { description: 'add the sidecar to manifests of pods', load: () => import('./inject.ts') },
  backup: { description: 'save all objects of a node in a file', load: () => import('./backup.ts') },
  restore: {
    description: 'replace all objects of a node by those of a backup',
    load: () => import('./restore.ts'),
  },
  certs: {
    description: 'issue, renew and list certificates of other nodes',
    load: () => import('./certs.ts'),
  },
  'join-token': {
    description: 'make a token with which another node joins',
    load: () => import('./join-token.ts'),
  },
  join: { description: 'join a node with a token of it', load: () => import('./join.ts') },
  auth: { description: 'say who one is and what one may do', load: () => import('./auth.ts') },
  completion: {
    description: 'print the completion script of a shell',
    load: () => import('./completion.ts'),
  },
  version: { description: 'print the versions of program and server', load: () => import('./version.ts') },
};

function help(programName: string): string {
  const width = Math.max(...Object.keys(VERBS).map((name) => name.length));
  const verbs = Object.entries(VERBS).map(
    ([name, { description }]) => `  ${name.padEnd(width)}  ${description}\n`,
  );
  return `Usage: ${programName} VERB [ARGUMENTS] [flags]\n\nInspect and operate nodes, Routers and services.\n\nVerbs:\n${verbs.join('')}\nRun "${programName} VERB --help" for the flags of a verb.\n`;
}

/** Takes the verb out of the arguments; global flags may stand before it. */
function splitVerb(argv: readonly string[]): { name: string | undefined; rest: string[] } {
  for (let at = 0; at < argv.length; at++) {
    const arg = argv[at] ?? '';
    if (!arg.startsWith('-')) return { name: arg, rest: [...argv.slice(0, at), ...argv.slice(at + 1)] };
    if (VALUE_FLAGS.has(arg) || arg === '-n' || arg === '--namespace') at++;
  }
  return { name: undefined, rest: [...argv] };
}

/** Runs the verb; every failure is printed here and becomes exit status 1, as with kubectl. */
export async function run(argv: readonly string[], programName: string): Promise<void> {
  // a reader that has seen enough (`| head`) ends the output, not the program
  process.stdout.on('error', (err) => process.exit(errorCode(err) === 'EPIPE' ? EXIT_OK : EXIT_FAILURE));
  const { name, rest } = splitVerb(argv);
  if (name === undefined || name === 'help') {
    process.stdout.write(help(programName));
    return;
  }
  try {
    const verb = Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
    if (verb === undefined) {
      throw new UsageError(
        `unknown command "${name}" for "${programName}"${suggestion(name, Object.keys(VERBS))}`,
        {
          hint: `run "${programName} --help" for the verbs`,
        },
      );
    }
    const { run: runLoaded } = await verb.load();
    await runLoaded(rest);
  } catch (err) {
    // by code: a verb that is a bundle of its own has its own copies of the classes
    const code = errorCode(err) ?? '';
    if (code === EXIT_STATUS) throw err;
    if (code.startsWith('commander.'))
      throw new ExitStatus((err as CommanderError).exitCode === 0 ? EXIT_OK : EXIT_FAILURE);
    process.stderr.write(`${failureText(err)}\n`);
    throw new ExitStatus(EXIT_FAILURE);
  }
}
