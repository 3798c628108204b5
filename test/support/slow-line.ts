/** A line with delay and loss between a host and its router: netem where the kernel has it, else two TUN devices. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { command, ip } from './netns-command.ts';
import { startProcess } from './processes.ts';
import type { TestLike } from './processes.ts';
import { findProgram } from './programs.ts';

/** What a line is like. */
export interface LineQuality {
  /** There and back, milliseconds; half of it each way. */
  roundTripMs: number;
  /** Of the packets, each way. */
  lossPercent?: number;
  /** Megabits a second each way; as fast as it goes when absent. */
  mbit?: number;
  /** Of the losses; only the TUN devices take it. */
  seed?: number;
  /** Carries segments of up to 64 KiB whole, for figures of throughput on a line without loss; TUN devices only. */
  offload?: boolean;
}

/** Where a line is: from the namespace of a site's router to that of its host. */
export interface LinePlace {
  router: string;
  host: string;
  /** The host's address. */
  address: string;
}

/** A slow line that is in use. */
export interface SlowLine {
  /** Puts the fast one back in its place. */
  remove(): void;
}

const START_TIMEOUT_MS = 30_000;
/** Packets in the device while the program between has no processor: Linux's 500 are milliseconds of traffic. */
const TUN_QUEUE_PACKETS = 10_000;
/** Packets on a line of netem; its default of 1000 drops what a fast line has under way. */
const NETEM_LIMIT = 20_000;

/** Lines made so far: an old one's devices may be there for a moment after it is removed. */
let made = 0;

/** Why lines cannot be slowed down here; undefined when they can. */
export function slowLineMissing(): string | undefined {
  if (hasNetem()) return undefined;
  return findProgram('python3') === undefined
    ? 'missing program: python3 (the kernel has no netem)'
    : undefined;
}

/** Slows down the line to a host; established connections stay as they are. */
export async function slowDown(t: TestLike, place: LinePlace, quality: LineQuality): Promise<SlowLine> {
  return hasNetem() && quality.offload !== true ? useNetem(place, quality) : useTun(t, place, quality);
}

/** Whether the kernel can delay packets by itself. */
function hasNetem(): boolean {
  const probe = `edge-${process.pid}-probe`;
  spawnSync('ip', ['netns', 'add', probe]);
  const { status } = spawnSync('tc', [
    '-n',
    probe,
    'qdisc',
    'add',
    'dev',
    'lo',
    'root',
    'netem',
    'delay',
    '1ms',
  ]);
  spawnSync('ip', ['netns', 'del', probe]);
  return status === 0;
}

function useNetem({ router, host }: LinePlace, quality: LineQuality): SlowLine {
  const devices = [
    [router, 'lan'],
    [host, 'eth0'],
  ] as const;
  const netem = ['netem', 'limit', `${NETEM_LIMIT}`, 'delay', `${quality.roundTripMs / 2}ms`];
  if (quality.lossPercent !== undefined) netem.push('loss', `${quality.lossPercent}%`);
  if (quality.mbit !== undefined) netem.push('rate', `${quality.mbit}mbit`);
  for (const [namespace, device] of devices)
    command('tc', ['-n', namespace, 'qdisc', 'replace', 'dev', device, 'root', ...netem]);
  return {
    remove() {
      for (const [namespace, device] of devices)
        command('tc', ['-n', namespace, 'qdisc', 'del', 'dev', device, 'root']);
    },
  };
}

/** A second way between router and host, with a program in the middle; the routes say which one is in use. */
async function useTun(t: TestLike, place: LinePlace, quality: LineQuality): Promise<SlowLine> {
  const { router, host, address } = place;
  made++;
  const [atRouter, atHost] = [`slow${made}`, `slow${made}-host`];
  const args = ['--a', atRouter, '--b', atHost, '--delay-ms', `${quality.roundTripMs / 2}`];
  if (quality.lossPercent !== undefined) args.push('--loss-percent', `${quality.lossPercent}`);
  if (quality.mbit !== undefined) args.push('--mbit', `${quality.mbit}`);
  if (quality.seed !== undefined) args.push('--seed', `${quality.seed}`);
  if (quality.offload === true) args.push('--offload');
  const script = join(process.cwd(), 'test/support/slow-line.py');
  const line = startProcess(t, 'ip', ['netns', 'exec', router, 'python3', script, ...args], {
    name: `slow line to ${host}`,
  });
  await line.waitForLine(/^ready$/u, START_TIMEOUT_MS);
  ip('-n', router, 'link', 'set', atHost, 'netns', host);
  for (const [namespace, device] of [
    [router, atRouter],
    [host, atHost],
  ] as const)
    ip('-n', namespace, 'link', 'set', device, 'txqueuelen', `${TUN_QUEUE_PACKETS}`, 'up');
  const gateway = address.replace(/\d+$/u, '1');
  ip('-n', router, 'route', 'replace', `${address}/32`, 'dev', atRouter);
  ip('-n', host, 'route', 'replace', 'default', 'dev', atHost, 'src', address);
  return {
    remove() {
      ip('-n', host, 'route', 'replace', 'default', 'via', gateway);
      ip('-n', router, 'route', 'del', `${address}/32`);
      line.signal('SIGTERM'); // the devices go with it
    },
  };
}
