/** The kubectl releases on this machine: from EDGE_TEST_KUBECTLS (PATH:PATH…), else beside and behind PATH's kubectl. */
import { accessSync, constants, readdirSync, realpathSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { findProgram } from './programs.ts';
import { runProcess } from './processes.ts';

/** One kubectl. */
export interface KubectlProgram {
  path: string;
  /** Its minor release: 33 for 1.33. */
  minor: number;
}

function candidates(): string[] {
  const given = process.env['EDGE_TEST_KUBECTLS'];
  if (given !== undefined && given !== '') return given.split(delimiter);
  const kubectl = findProgram('kubectl');
  if (kubectl === undefined) return [];
  // some vendors' kubectl is a dispatcher, with the releases it chooses from beside it
  const dir = dirname(realpathSync(kubectl));
  const beside = readdirSync(dir).filter((name) => /^kubectl[.-]v?1\.\d+$/u.test(name));
  return beside.length > 0 ? beside.map((name) => join(dir, name)) : [kubectl];
}

/** Every kubectl that runs, one a release, oldest first. */
export async function findKubectls(): Promise<KubectlProgram[]> {
  const found = new Map<number, KubectlProgram>();
  for (const path of candidates()) {
    accessSync(path, constants.X_OK);
    const { stdout } = await runProcess(path, ['version', '--client', '-o', 'json'], {
      env: { HOME: '/nonexistent' },
    });
    const minor = Number(/"minor": "(\d+)/u.exec(stdout)?.[1]);
    if (!found.has(minor)) found.set(minor, { path, minor });
  }
  return [...found.values()].sort((a, b) => a.minor - b.minor);
}
