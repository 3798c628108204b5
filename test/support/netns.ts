/** Several hosts on one machine: network namespaces around a small Internet, some behind NAT; all gone after the test. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { command, ip } from './netns-command.ts';
import { findProgram } from './programs.ts';
import { runProcess, startProcess } from './processes.ts';
import { slowDown } from './slow-line.ts';
import type { LineQuality, SlowLine } from './slow-line.ts';
import type { ProcessOptions, ProcessResult, TestLike, TestProcess } from './processes.ts';

/** A host with a network stack of its own. */
export interface Host {
  /** The name of its namespace. */
  readonly namespace: string;
  /** Its address; private behind NAT. */
  readonly address: string;
  /** Starts a program there; ended after the test. */
  start(t: TestLike, command: readonly string[], options?: ProcessOptions): TestProcess;
  /** Runs a program there to its end. */
  run(command: readonly string[], options?: ProcessOptions & { timeoutMs?: number }): Promise<ProcessResult>;
  /** Replaces what programs there see as /etc/resolv.conf. */
  setResolvConf(text: string): void;
  /** Drops every packet from and to elsewhere silently, as a dead radio link does; connections stay open. */
  cut(): void;
  /** Undoes whatever is wrong with the host's link. */
  heal(): void;
}

/** A host that only dials out: a router in front of it masquerades and refuses what comes from outside. */
export interface Site extends Host {
  /** The address that others see now. */
  readonly publicAddress: string;
  /** Gives the site another public address, as a provider does overnight; the router forgets its connections. */
  renumber(): void;
  /** Takes the carrier away, as a pulled plug does. */
  unplug(): void;
  /** Delays, loses and slows down what the host sends and receives; established connections go on. */
  degrade(quality: LineQuality): Promise<void>;
}

/** The namespaces of one test file. */
export interface Internet {
  /** Adds a host with a public address. */
  addHost(name: string): Host;
  /** Adds a host behind a NAT router of its own. */
  addSite(name: string): Site;
}

/** Namespaces are called edge-PID-NAME, so that a later run finds those of a process that was killed. */
const NAME_PREFIX = 'edge-';

/**
 * Why namespaces cannot be made here, or which of the programs that run in them is missing; undefined when nothing is.
 * With `CI=true` a missing program throws.
 */
export function netnsMissing(programs: readonly string[] = []): string | undefined {
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  const missing = ['ip', 'nft', ...programs].find((name) => findProgram(name) === undefined);
  if (missing !== undefined) {
    if (process.env['CI'] === 'true') throw new Error(`missing program: ${missing}`);
    return `missing program: ${missing}`;
  }
  const probe = `${NAME_PREFIX}${process.pid}-probe`;
  const { status, stderr } = spawnSync('ip', ['netns', 'add', probe], { encoding: 'utf8' });
  if (status !== 0) return `cannot make a network namespace: ${stderr.trim()}`;
  const nat = spawnSync('ip', ['netns', 'exec', probe, 'nft', '-f', '-'], {
    encoding: 'utf8',
    input: natRules(),
  });
  spawnSync('ip', ['netns', 'del', probe]);
  return nat.status === 0 ? undefined : `no NAT in network namespaces: ${nat.stderr.trim()}`;
}

/** Makes an Internet without hosts. It goes after the test, with every process that is left in it. */
export function startInternet(t: TestLike): Internet {
  removeStale();
  const made: string[] = [];
  const cleanup = (): void => made.splice(0).forEach(removeNamespace);
  const onSignal = (): void => process.exit(143); // the runner's own time limit; runs the exit handler
  process.once('exit', cleanup).once('SIGTERM', onSignal);
  t.after(() => {
    cleanup();
    process.off('exit', cleanup).off('SIGTERM', onSignal);
  });
  const add = (name: string): string => {
    const namespace = `${NAME_PREFIX}${process.pid}-${name}`;
    made.push(namespace);
    ip('netns', 'add', namespace);
    ip('-n', namespace, 'link', 'set', 'lo', 'up');
    return namespace;
  };
  const backbone = add('net');
  forward(backbone);
  let links = 0;
  /** Joins a namespace to the backbone with a link of RFC 5737 addresses; answers its address and its gateway. */
  const join = (namespace: string): { address: string; gateway: string } => {
    const base = links++ * 8;
    const [gateway, address] = [`198.51.100.${base + 1}`, `198.51.100.${base + 2}`];
    connect(backbone, `link${base}`, `${gateway}/29`, namespace, 'wan', `${address}/29`);
    ip('-n', namespace, 'route', 'add', 'default', 'via', gateway);
    return { address, gateway };
  };
  let sites = 0;
  return {
    addHost(name) {
      const namespace = add(name);
      const host = createHost(namespace, join(namespace).address);
      nft(namespace, hostRules());
      return Object.assign(host, { cut: () => cut(namespace), heal: () => undoCut(namespace) });
    },
    addSite(name) {
      const [namespace, router] = [add(name), add(`${name}-nat`)];
      const wan = join(router);
      const subnet = `192.168.${++sites}`;
      connect(router, 'lan', `${subnet}.1/24`, namespace, 'eth0', `${subnet}.10/24`);
      ip('-n', namespace, 'route', 'add', 'default', 'via', `${subnet}.1`);
      forward(router);
      nft(router, natRules());
      // The way in exists, so that only the site's router keeps others out, not the lack of a route.
      ip('-n', backbone, 'route', 'add', `${subnet}.0/24`, 'via', wan.address);
      const host = createHost(namespace, `${subnet}.10`);
      return Object.assign(createUplink(t, host, router, wan), host); // this way round: a getter is read when copied
    },
  };
}

function createHost(namespace: string, address: string): Omit<Host, 'cut' | 'heal'> {
  // `ip netns exec` shows this file as /etc/resolv.conf; 127.0.0.2 is where a sidecar answers by default.
  mkdirSync(`/etc/netns/${namespace}`, { recursive: true });
  const setResolvConf = (text: string): void => writeFileSync(`/etc/netns/${namespace}/resolv.conf`, text);
  setResolvConf('nameserver 127.0.0.2\noptions timeout:1 attempts:2\n');
  const inside = (command: readonly string[]): string[] => ['netns', 'exec', namespace, ...command];
  return {
    namespace,
    address,
    start: (t, command, options = {}) =>
      startProcess(t, 'ip', inside(command), { name: `${command[0] ?? ''} on ${namespace}`, ...options }),
    run: (command, options) => runProcess('ip', inside(command), options),
    setResolvConf,
  };
}

function createUplink(
  t: TestLike,
  host: Pick<Host, 'namespace' | 'address'>,
  router: string,
  wan: { address: string; gateway: string },
): Omit<Site, keyof Host> & Pick<Site, 'cut' | 'heal'> {
  let current = wan.address;
  let slow: SlowLine | undefined;
  const heal = (): void => {
    undoCut(router);
    ip('-n', router, 'link', 'set', 'wan', 'up');
    ip('-n', router, 'route', 'replace', 'default', 'via', wan.gateway); // went with the carrier
    slow?.remove();
    slow = undefined;
  };
  return {
    get publicAddress() {
      return current;
    },
    renumber() {
      ip('-n', router, 'address', 'del', `${current}/29`, 'dev', 'wan'); // masquerading forgets the connections
      current = nextAddress(current);
      ip('-n', router, 'address', 'add', `${current}/29`, 'dev', 'wan');
      ip('-n', router, 'route', 'replace', 'default', 'via', wan.gateway);
    },
    cut: () => cut(router),
    unplug: () => ip('-n', router, 'link', 'set', 'wan', 'down'),
    heal,
    async degrade(quality) {
      slow?.remove();
      slow = await slowDown(t, { router, host: host.namespace, address: host.address }, quality);
    },
  };
}

function cut(namespace: string): void {
  nft(namespace, 'add rule inet edge cut drop\n');
}

function undoCut(namespace: string): void {
  nft(namespace, 'flush chain inet edge cut\n');
}

/** The address after this one; a link has five for its site. */
function nextAddress(address: string): string {
  const [last = '', ...rest] = address.split('.').reverse();
  return [...rest.reverse(), Number(last) + 1].join('.');
}

/** A home router's rules: out is masqueraded, in comes only what belongs to a connection from inside. */
function natRules(): string {
  return `table inet edge {
  chain cut { }
  chain forward {
    type filter hook forward priority 0; policy accept;
    jump cut
    iifname "wan" ct state new,invalid drop
  }
  chain postrouting {
    type nat hook postrouting priority 100;
    oifname "wan" masquerade
  }
}
`;
}

/** Where a host's own link can be cut. */
function hostRules(): string {
  return `table inet edge {
  chain cut { }
  chain input {
    type filter hook input priority 0; policy accept;
    iifname "wan" jump cut
  }
  chain output {
    type filter hook output priority 0; policy accept;
    oifname "wan" jump cut
  }
}
`;
}

function connect(
  a: string,
  nameA: string,
  addressA: string,
  b: string,
  nameB: string,
  addressB: string,
): void {
  ip('link', 'add', nameA, 'netns', a, 'type', 'veth', 'peer', 'name', nameB, 'netns', b);
  for (const [namespace, name, address] of [
    [a, nameA, addressA],
    [b, nameB, addressB],
  ] as const) {
    ip('-n', namespace, 'address', 'add', address, 'dev', name);
    ip('-n', namespace, 'link', 'set', name, 'up');
  }
}

function forward(namespace: string): void {
  ip('netns', 'exec', namespace, 'sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward');
}

function nft(namespace: string, rules: string): void {
  command('ip', ['netns', 'exec', namespace, 'nft', '-f', '-'], rules);
}

/** Ends what runs in a namespace and removes it; what is not there is fine. */
function removeNamespace(namespace: string): void {
  const { stdout } = spawnSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' });
  for (const pid of stdout.split('\n').filter((line) => line !== '')) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // has ended by itself
    }
  }
  spawnSync('ip', ['netns', 'del', namespace]);
  rmSync(`/etc/netns/${namespace}`, { recursive: true, force: true });
}

/** Removes the namespaces of test processes that were killed before they could. */
function removeStale(): void {
  for (const namespace of listDir('/run/netns')) {
    const pid = /^edge-(\d+)-/u.exec(namespace)?.[1];
    if (pid !== undefined && !listDir('/proc').includes(pid)) removeNamespace(namespace);
  }
}

function listDir(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
