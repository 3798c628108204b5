/** `edge ctl top`: what flows through Routers, services and clients now, as the Routers last reported it. */
import { ROUTERS } from '../../api/edge.ts';
import type { Router } from '../../api/gen/types.ts';
import { createInformer } from '../../apiclient/informer.ts';
import type { Informer } from '../../apiclient/informer.ts';
import { sleep, systemClock } from '../../lib/clock.ts';
import { UsageError } from '../../lib/errors.ts';
import { silentLogger } from '../../lib/log.ts';
import { parseDuration } from '../../lib/options.ts';
import { ExitStatus } from '../exit.ts';
import { hasColor, paint } from './marks.ts';
import { Reports } from './top/reports.ts';
import { areRatesKnown, viewsNow, whenRatesKnown } from './top/sampling.ts';
import { runScreen } from './top/screen.ts';
import { findSubject, headLines, SORT_KEYS, SUBJECTS } from './top/subjects.ts';
import type { Subject } from './top/subjects.ts';
import { createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

interface TopFlags {
  sortBy: string;
  headers: boolean;
  output?: string;
  selector?: string;
  watch?: boolean;
  once?: boolean;
  interval: string;
  wait: string;
}

/** The shortest time between two frames, milliseconds. */
const MIN_INTERVAL_MS = 200;

const HELP = `
Routers report their traffic to the API server every 30 s, and whenever clients or services come and go. A rate is the
difference of the last two reports that are 10 s or more apart, over the time between their own timestamps, which are
whole seconds: OVER says how long that is (30s: within 4 %, 10s: within 10 %). AGE is how old the last report is. IN is
towards the providers, OUT away from them; OPEN was open at the time of the report; totals are since the Router started,
or since the client connected. "-" is not known (yet).

On a terminal this is a screen that is drawn anew until q or Ctrl-C. In a pipe, with --once and with -o json it is one
table, as soon as every Router has reported twice, --wait at the latest: usually within half a minute. Mirrors of other
nodes' Routers are in it; STATE is Stale while their peer is away, and Silent when a Router stopped reporting.`;

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb(
    `top [${SUBJECTS.map(({ word }) => word).join(' | ')}] [NAME…]`,
    'Show what flows through Routers (the default), services or clients.',
  )
    .argument('[WHAT...]')
    .option('--sort-by <KEY>', SORT_KEYS.join(', '), 'rate')
    .option('-l, --selector <QUERY>', 'only Routers whose labels match')
    .option('--no-headers', 'leave the header line out')
    .option('-o, --output <FORMAT>', 'json')
    .option('-w, --watch', 'go on: a table whenever something was reported')
    .option('--once', 'one table, also on a terminal')
    .option('--interval <DURATION>', 'between two frames or tables', '2s')
    .option('--wait <DURATION>', 'longest wait for the second report; 0 prints totals at once', '45s')
    .addHelpText('after', HELP);
  await runVerb(command, argv, (session, args) => top(session, args, command.opts<TopFlags>()));
}

async function top(session: Session, args: readonly string[], flags: TopFlags): Promise<void> {
  if (flags.output !== undefined && flags.output !== 'json')
    throw new UsageError(`--output: "${flags.output}" is not json`);
  if (!SORT_KEYS.includes(flags.sortBy))
    throw new UsageError(`--sort-by: "${flags.sortBy}" is not one of ${SORT_KEYS.join(', ')}`);
  const intervalMs = Math.max(MIN_INTERVAL_MS, parseDuration(flags.interval, '--interval'));
  const limitMs = parseDuration(flags.wait, '--wait');
  const subject = findSubject(args[0]);
  const names = args.slice(args[0] === undefined ? 0 : 1);
  const list = await session.client.list<Router>(ROUTERS, { labelSelector: flags.selector });
  const reports = new Reports();
  const view = { session, subject, names, flags, reports };
  const isFollowing =
    flags.watch === true || (process.stdout.isTTY && flags.once !== true && flags.output === undefined);
  const first = viewsNow(reports, list.items, systemClock);
  if (!isFollowing && (limitMs === 0 || areRatesKnown(first))) {
    await printTable(view, list.items);
    return;
  }
  const routers = createInformer<Router>(
    {
      client: session.client,
      resource: ROUTERS,
      ...(flags.selector === undefined ? {} : { labelSelector: flags.selector }),
    },
    { clock: systemClock, log: silentLogger },
  );
  const ending = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => ending.abort());
  // the clock's timers do not keep the process alive, this does
  const keepAlive = setInterval(() => {}, 60_000);
  try {
    await routers.start();
    await routers.whenSynced(ending.signal);
    if (!isFollowing) {
      await whenRatesKnown(reports, routers, { clock: systemClock, limitMs, signal: ending.signal });
      if (!ending.signal.aborted) await printTable(view, routers.list());
    } else if (process.stdout.isTTY && flags.output === undefined && flags.once !== true) {
      if ((await showScreen(view, routers, intervalMs, ending.signal)) === 'quit') return;
      throw new ExitStatus(130);
    } else await printTables(view, routers, intervalMs, ending.signal);
    if (ending.signal.aborted) throw new ExitStatus(130);
  } finally {
    clearInterval(keepAlive);
    await routers.stop();
  }
}

interface View {
  session: Session;
  subject: Subject;
  names: readonly string[];
  flags: TopFlags;
  reports: Reports;
}

async function printTable(view: View, routers: readonly Router[]): Promise<void> {
  const { session, subject, names, flags, reports } = view;
  const views = viewsNow(reports, routers, systemClock);
  const { rows, lines } = subject.show(views, { names, sortBy: flags.sortBy, hasHeaders: flags.headers });
  if (flags.output === 'json') {
    await session.print(`${JSON.stringify(rows, undefined, flags.watch === true ? 0 : 2)}\n`);
  } else if (rows.length === 0) session.warn(`No ${subject.word} found`);
  else {
    const isColored = hasColor();
    const texts = lines.map(({ text, mark }) => (mark === undefined ? text : paint(text, mark, isColored)));
    await session.print(`${texts.join('\n')}\n`);
  }
}

/** A table now, and another one after each report, at most one an interval. */
async function printTables(
  view: View,
  routers: Informer<Router>,
  intervalMs: number,
  signal: AbortSignal,
): Promise<void> {
  let wake = (): void => {};
  let isChanged = true;
  routers.onChange(() => {
    isChanged = true;
    wake();
  });
  signal.addEventListener('abort', () => wake(), { once: true });
  for (let isFirst = true; !signal.aborted; isFirst = false) {
    if (isChanged) {
      isChanged = false;
      if (!isFirst && view.flags.output === undefined) await view.session.print('\n');
      await printTable(view, routers.list());
    } else {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    await sleep(systemClock, intervalMs, signal);
  }
}

function showScreen(
  { session, subject, names, flags, reports }: View,
  routers: Informer<Router>,
  intervalMs: number,
  signal: AbortSignal,
): Promise<'quit' | 'interrupt'> {
  let lostAt: number | undefined;
  return runScreen(
    { input: process.stdin, output: process.stdout },
    { clock: systemClock, intervalMs, hasColor: hasColor(), signal },
    ({ columns }) => {
      const views = viewsNow(reports, routers.list(), systemClock);
      const { rows, lines } = subject.show(views, {
        names,
        sortBy: flags.sortBy,
        hasHeaders: flags.headers,
        width: columns,
      });
      lostAt = routers.isConnected ? undefined : (lostAt ?? routers.lastContactAt ?? systemClock.now());
      return [
        ...headLines(views, {
          server: session.client.server,
          time: systemClock.wallNow(),
          lostForMs: lostAt === undefined ? undefined : systemClock.now() - lostAt,
        }),
        { text: '' },
        ...(rows.length === 0 ? [{ text: `No ${subject.word} found` }] : lines),
      ];
    },
  );
}
