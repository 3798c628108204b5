/** `edge ctl auth whoami` and `auth can-i`: who the server takes one for, and what it lets one do. */
import { apiError } from '../../apiclient/errors.ts';
import { UsageError } from '../../lib/errors.ts';
import { EXIT_FAILURE, ExitStatus } from '../exit.ts';
import { RULE_COLUMNS, ruleRows } from './auth-rules.ts';
import type { ReviewedRules } from './auth-rules.ts';
import { ColumnWriter } from './printers/columns.ts';
import { objectPrinter } from './printers/objects.ts';
import { resourceOf } from './resources.ts';
import { createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

interface AuthFlags {
  output?: string;
  quiet?: boolean;
  list?: boolean;
  headers: boolean;
  subresource?: string;
}

/** Runs the verb; `can-i` ends with 1 for no. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb(
    'auth (whoami | can-i VERB (TYPE | TYPE/NAME | URL) | can-i --list)',
    'Say who the server takes you for, and whether it lets you do something.',
  )
    .argument('[WHAT...]')
    .option('-o, --output <FORMAT>', 'of whoami: json, yaml')
    .option('-q, --quiet', 'of can-i: the exit status only')
    .option('--list', 'of can-i: all that you may do')
    .option('--no-headers', 'of can-i --list: no line of column names')
    .option('--subresource <NAME>', 'of can-i: this part only, such as status')
    .option('-A, --all-namespaces', 'taken for compatibility');
  await runVerb(command, argv, async (session, [what, ...args]) => {
    const flags = command.opts<AuthFlags>();
    if (what === 'whoami' && args.length === 0) await whoAmI(session, flags);
    else if (what === 'can-i' && flags.list === true) await listRules(session, args, flags);
    else if (what === 'can-i') await canI(session, args, flags);
    else throw new UsageError('you must say what: whoami, or can-i VERB TYPE');
  });
}

/** Sends a review; returns it with its status. */
async function review<T>({ client }: Session, path: string, kind: string, spec?: unknown): Promise<T> {
  const apiVersion = path.split('/').slice(2, 4).join('/');
  const answer = await client.request('POST', path, {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ kind, apiVersion, ...(spec === undefined ? {} : { spec }) }),
  });
  if (answer.status >= 400) throw apiError(answer.status, answer.text, client.server);
  return JSON.parse(answer.text) as T;
}

async function whoAmI(session: Session, flags: AuthFlags): Promise<void> {
  const printer = await objectPrinter(flags.output);
  interface Review {
    status?: {
      userInfo?: { username?: string; uid?: string; groups?: string[]; extra?: Record<string, string[]> };
    };
  }
  const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
  const answer = await review<Review>(session, path, 'SelfSubjectReview');
  if (printer !== undefined) {
    await session.print(printer(answer));
    return;
  }
  const { username = '', uid = '', groups = [], extra = {} } = answer.status?.userInfo ?? {};
  const list = (values: readonly string[]): string => `[${values.join(' ')}]`;
  const rows = [
    ['ATTRIBUTE', 'VALUE'],
    ...(username === '' ? [] : [['Username', username]]),
    ...(uid === '' ? [] : [['UID', uid]]),
    ...(groups.length === 0 ? [] : [['Groups', list(groups)]]),
    ...Object.entries(extra).map(([key, values]) => [`Extra: ${key}`, list(values)]),
  ];
  await session.print(new ColumnWriter().format(rows));
}

async function canI(session: Session, args: readonly string[], flags: AuthFlags): Promise<void> {
  const [verb, what, ...more] = args;
  if (verb === undefined || what === undefined || more.length > 0) {
    throw new UsageError('you must specify two arguments: verb resource or verb resource/resourceName.', {
      hint: 'run "edge ctl auth --help" for usage',
    });
  }
  const spec = what.startsWith('/')
    ? { nonResourceAttributes: { path: what, verb } }
    : { resourceAttributes: resourceAttributes(session, verb, what, flags.subresource) };
  const path = '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
  const { status } = await review<{
    status?: { allowed?: boolean; reason?: string; evaluationError?: string };
  }>(session, path, 'SelfSubjectAccessReview', spec);
  const isAllowed = status?.allowed === true;
  const reasons = isAllowed ? [] : [status?.reason, status?.evaluationError];
  const text = [isAllowed ? 'yes' : 'no', ...reasons.filter((each) => each !== undefined && each !== '')];
  if (flags.quiet !== true) await session.print(`${text.join(' - ')}\n`);
  if (!isAllowed) throw new ExitStatus(EXIT_FAILURE);
}

async function listRules(session: Session, args: readonly string[], { headers }: AuthFlags): Promise<void> {
  if (args.length > 0) throw new UsageError('list option must be specified with no arguments');
  const path = '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews';
  const { status = {} } = await review<{ status?: ReviewedRules }>(session, path, 'SelfSubjectRulesReview', {
    namespace: 'default',
  });
  if (status.incomplete === true)
    session.warn(`warning: the list may be incomplete: ${status.evaluationError ?? ''}\n`);
  await session.print(new ColumnWriter().format([...(headers ? [RULE_COLUMNS] : []), ...ruleRows(status)]));
}

function resourceAttributes(
  session: Session,
  verb: string,
  what: string,
  subresource: string | undefined,
): Record<string, string> {
  const [type = '', name] = what.split('/', 2);
  const known = type === '*' ? undefined : resourceOf(type);
  const [plural = '', ...group] = type.split('.');
  if (known === undefined && type !== '*') {
    const where = group.length === 0 ? '' : ` in group '${group.join('.')}'`;
    session.warn(`Warning: the server doesn't have a resource type '${plural}'${where}\n`);
  }
  return {
    verb,
    group: known?.group ?? (type === '*' ? '*' : group.join('.')),
    resource: known?.plural ?? plural,
    ...(known === undefined ? {} : { version: known.version }),
    ...(subresource === undefined ? {} : { subresource }),
    ...(name === undefined ? {} : { name }),
  };
}
