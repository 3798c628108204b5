// The processes of the demo: each logs to a file, is known by its pid, and is gone when the demo is.
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PATIENCE_MS, until } from './wait.mjs';

/** Lines of a log that are shown when its process fails. */
const TAIL_LINES = 15;
/** Warnings of one process that are shown when a check fails. */
const COMPLAINTS = 8;
/** After SIGTERM a process has this long; the demo starts edge with a shorter drain. */
const STOP_MS = 5000;
/** The line every subcommand of edge logs when it is ready. */
export const EDGE_READY = /^\S+ INFO {2}ready(?: |$)/mu;

/** Settings of the user's shell that would change what the demo shows. */
function cleanEnv() {
  const foreign = /^(?:EDGE_|SIDECAR_|SYNCER_|FRP_|POD_|KUBECONFIG$|NOTIFY_SOCKET$)/u;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !foreign.test(name)));
}

/** The set of processes and the temporary directory of one demo. */
export class Processes {
  /** Where everything the demo writes is. */
  dir = mkdtempSync(join(tmpdir(), 'edge-demo-'));
  #running = new Map();
  #isStopping = false;
  #onDeath;

  /** `onDeath(process)` is told of a process that ended without being asked to. */
  constructor(onDeath) {
    this.#onDeath = onDeath;
    // The last resort, when even stop() was cut short: nothing may outlive the demo.
    process.on('exit', () => this.#wipe());
  }

  /** Starts a program and resolves when `ready` is in its log. Rejects with the end of the log when it ends first. */
  async start({ name, command, args, env = {}, ready, limitMs = PATIENCE_MS }) {
    if (this.#isStopping) throw new Error('the demo is ending');
    const logFile = join(this.dir, `${name.replaceAll(/[^\w.-]+/gu, '-')}.log`);
    const fd = openSync(logFile, 'w');
    const child = spawn(command, args, {
      env: { ...cleanEnv(), ...env },
      stdio: ['ignore', fd, fd],
      detached: true, // Ctrl-C reaches the demo alone, which then ends the others in good order
    });
    closeSync(fd);
    const entry = {
      name,
      child,
      logFile,
      start: { name, command, args, env, ready, limitMs },
      isExpected: false,
    };
    entry.ended = new Promise((resolve) => {
      child.on('error', () => resolve());
      child.on('exit', () => resolve());
    });
    this.#running.set(name, entry);
    entry.ended.then(() => {
      if (this.#running.get(name) === entry) this.#running.delete(name);
      if (entry.isReady && !entry.isExpected && !this.#isStopping) this.#onDeath(entry);
    });
    await until(`${name} ready`, limitMs, () => {
      if (ready.test(readFileSync(logFile, 'utf8'))) return true;
      if (this.#running.get(name) === entry) return false;
      throw Object.assign(new Error(`${name} ended with ${describe(child)}`), { isFinal: true });
    }).catch((err) => {
      throw new Error(`${err.message}\n${this.tail(entry)}`, { cause: err });
    });
    entry.isReady = true;
    return entry;
  }

  /** SIGKILL, as a crash would be; resolves with the entry for restart(). */
  async crash(name) {
    const entry = this.#running.get(name);
    if (entry === undefined) throw new Error(`${name} is not running`);
    entry.isExpected = true;
    process.kill(entry.child.pid, 'SIGKILL');
    await entry.ended;
    return entry;
  }

  /** Starts an ended process again exactly as it was. */
  async restart(entry) {
    return this.start(entry.start);
  }

  /** The end of a process's log, for messages. */
  tail({ name, logFile }) {
    const lines = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-TAIL_LINES);
    return [`--- end of the log of ${name}:`, ...lines, '---'].join('\n');
  }

  /** What running processes warned about, for the reader of a check that failed. */
  complaints() {
    return [...this.#running.values()].flatMap(({ name, logFile }) => {
      const lines = readFileSync(logFile, 'utf8').split('\n');
      const found = lines.filter((line) => / (?:WARN|ERROR) /u.test(line)).slice(-COMPLAINTS);
      return found.map((line) => `${name}: ${line}`);
    });
  }

  /** Ends everything, last started first asked, and removes the directory. Idempotent. */
  async stop() {
    this.#isStopping = true;
    const entries = [...this.#running.values()].reverse();
    for (const { child } of entries) child.kill('SIGTERM');
    const cut = setTimeout(() => entries.forEach(({ child }) => child.kill('SIGKILL')), STOP_MS);
    await Promise.all(entries.map(({ ended }) => ended));
    clearTimeout(cut);
    rmSync(this.dir, { recursive: true, force: true });
  }

  #wipe() {
    for (const { child } of this.#running.values()) child.kill('SIGKILL');
    rmSync(this.dir, { recursive: true, force: true });
  }
}

function describe(child) {
  if (child.pid === undefined) return 'an error: it could not be started';
  return child.signalCode ?? `status ${child.exitCode}`;
}

/** Runs a program to its end; resolves with what it printed, rejects with what it complained about. */
export function run(command, args, { input = '', env = {}, limitMs = PATIENCE_MS } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: { ...cleanEnv(), ...env }, stdio: ['pipe', 'pipe', 'pipe'] });
    const out = { stdout: '', stderr: '' };
    const cut = setTimeout(() => child.kill('SIGKILL'), limitMs);
    for (const name of ['stdout', 'stderr'])
      child[name].setEncoding('utf8').on('data', (text) => (out[name] += text));
    child.stdin.on('error', () => {}); // it ended without reading its input; its status tells why
    child.stdin.end(input);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(cut);
      if (code === 0) resolve(out.stdout);
      else reject(new Error(`${command} ${args.join(' ')}: ${out.stderr.trim() || describe(child)}`));
    });
  });
}
