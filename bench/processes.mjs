// The processes of the paths, with their ids, for what they use.
import { Processes } from '../scripts/demo/processes.mjs';

/** Processes that can be asked for by name. */
export class BenchProcesses extends Processes {
  #pids = new Map();
  #profileDir;

  /** With `profileDir` every Node process leaves a CPU profile there when it ends. */
  constructor(onDeath, profileDir) {
    super(onDeath);
    this.#profileDir = profileDir;
  }

  async start(what) {
    const isProfiled = this.#profileDir !== undefined && what.command === process.execPath;
    const flags = isProfiled ? ['--cpu-prof', '--cpu-prof-dir', this.#profileDir] : [];
    const entry = await super.start({ ...what, args: [...flags, ...what.args] });
    this.#pids.set(what.name, entry.child.pid);
    return entry;
  }

  /** The ids of started processes. Throws for a name that was never started. */
  pids(...names) {
    return names.map((name) => {
      const pid = this.#pids.get(name);
      if (pid === undefined) throw new Error(`${name} is not started`);
      return pid;
    });
  }
}
