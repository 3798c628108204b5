/** `edge ctl wait`: waits until objects have a condition, a value, exist, or are gone. */
import { isDeepStrictEqual } from 'node:util';
import type { KubeObject, ResourceRef } from '../../api/meta.ts';
import { createInformer } from '../../apiclient/informer.ts';
import { isNotFound } from '../../apiclient/errors.ts';
import { systemClock } from '../../lib/clock.ts';
import { UsageError } from '../../lib/errors.ts';
import { silentLogger } from '../../lib/log.ts';
import { parseDuration } from '../../lib/options.ts';
import { EXIT_FAILURE, ExitStatus } from '../exit.ts';
import { compileRelaxedPath, valueText } from './printers/jsonpath.ts';
import { singularName } from './resources.ts';
import { selectTargets } from './selection.ts';
import type { SelectionFlags } from './selection.ts';
import { createVerb, runVerb } from './verb.ts';
import type { Session } from './verb.ts';

interface WaitFlags extends SelectionFlags {
  for?: string;
  timeout: string;
}

/** Whether an object, undefined when it does not exist, is as wanted. */
type Wanted = (object: KubeObject | undefined) => boolean;

/** Runs the verb. */
export async function run(argv: readonly string[]): Promise<void> {
  const command = createVerb(
    'wait (TYPE NAME… | TYPE/NAME… | TYPE (-l QUERY | --all)) --for=WHAT',
    'Wait for a condition of objects.',
  )
    .argument('<WHAT...>')
    .option('--for <WHAT>', "condition=NAME[=STATUS], jsonpath='{PATH}'[=VALUE], create or delete")
    .option('--timeout <DURATION>', 'longest wait; 0 looks once', '30s')
    .option('-l, --selector <QUERY>', 'objects whose labels match')
    .option('--field-selector <QUERY>', 'objects whose fields match')
    .option('--all', 'all objects of the types');
  await runVerb(command, argv, (session, args) => wait(session, args, command.opts<WaitFlags>()));
}

/** Reads the value of `--for`. Throws UsageError, EDGE_ERR_JSONPATH_SYNTAX. */
export function parseWanted(text: string | undefined): { wanted: Wanted; mayBeMissing: boolean } {
  if (text === undefined || text === '') throw new UsageError('must specify --for');
  if (text === 'delete') return { wanted: (object) => object === undefined, mayBeMissing: true };
  if (text === 'create') return { wanted: (object) => object !== undefined, mayBeMissing: true };
  const condition = /^condition=([^=]+)(?:=(.*))?$/su.exec(text);
  if (condition !== null)
    return { wanted: hasCondition(condition[1] ?? '', condition[2] ?? 'true'), mayBeMissing: false };
  const value = /^jsonpath=(['"]?)(\{.*?\}|[^={}]+)\1(?:=(.*))?$/su.exec(text);
  if (value === null)
    throw new UsageError(`unrecognized condition: "${text}"`, {
      hint: "condition=Ready, jsonpath='{.spec.x}'=1, create or delete",
    });
  const path = compileRelaxedPath(value[2] ?? '');
  const wantedText = value[3]?.replace(/^(['"])(.*)\1$/su, '$2');
  return {
    wanted: (object) => {
      const found = object === undefined ? [] : path(object);
      return wantedText === undefined
        ? found.length > 0
        : found.some((each) => isDeepStrictEqual(valueText(each), wantedText));
    },
    mayBeMissing: false,
  };
}

function hasCondition(type: string, status: string): Wanted {
  return (object) => {
    const conditions = (
      object?.status as
        { conditions?: { type?: string; status?: unknown; observedGeneration?: number }[] } | undefined
    )?.conditions;
    const found = conditions?.find((each) => each.type?.toLowerCase() === type.toLowerCase());
    if (found === undefined) return false;
    // a condition of an older spec says nothing about this one
    if (
      found.observedGeneration !== undefined &&
      found.observedGeneration < (object?.metadata.generation ?? 0)
    )
      return false;
    return String(found.status).toLowerCase() === status.toLowerCase();
  };
}

async function wait(session: Session, args: readonly string[], flags: WaitFlags): Promise<void> {
  const { wanted, mayBeMissing } = parseWanted(flags.for);
  const limitMs = parseDuration(flags.timeout, '--timeout');
  const targets = await selectTargets(session, args, flags);
  if (targets.length === 0) throw new UsageError('no matching resources found');
  const deadline = systemClock.now() + limitMs;
  let hasFailed = false;
  for (const { resource, name = '' } of targets) {
    try {
      await session.client.get(resource, name); // says at once what is wrong with names and the connection
    } catch (err) {
      if (!mayBeMissing || !isNotFound(err)) throw err;
      if (wanted(undefined)) continue; // gone before we looked: nothing to report
    }
    if (await waitFor(session, resource, name, wanted, deadline - systemClock.now())) {
      await session.print(`${singularName(resource)}/${name} condition met\n`);
    } else {
      hasFailed = true;
      session.warn(`error: timed out waiting for the condition on ${resource.plural}/${name}`);
    }
  }
  if (hasFailed) throw new ExitStatus(EXIT_FAILURE);
}

function waitFor(
  session: Session,
  resource: ResourceRef,
  name: string,
  wanted: Wanted,
  limitMs: number,
): Promise<boolean> {
  const informer = createInformer<KubeObject>(
    {
      client: session.client,
      resource,
      fieldSelector: `metadata.name=${name}`,
      isWanted: (object) => object.metadata.name === name,
    },
    { clock: systemClock, log: silentLogger },
  );
  return new Promise((resolve) => {
    // also keeps the process alive while the server is away
    const timer = setTimeout(() => end(false), Math.min(Math.max(limitMs, 50), 2 ** 31 - 1));
    const end = (isMet: boolean): void => {
      clearTimeout(timer);
      void informer.stop().then(() => resolve(isMet));
    };
    informer.onChange(() => {
      if (informer.hasSynced && wanted(informer.get(name))) end(true);
    });
    void informer.start();
  });
}
