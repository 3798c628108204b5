/** Certificates made by the real openssl, so that nothing of ours takes part in what is to be verified. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { tempDir } from './temp-dir.ts';
import type { Cleanup } from './temp-dir.ts';
import { requireProgram } from './programs.ts';
import type { Skippable } from './programs.ts';

/** A certificate with its key: PEM, and where the files are. */
export interface Pair {
  cert: string;
  key: string;
  certFile: string;
  keyFile: string;
}

/** An authority that signs certificates for names and addresses (`DNS:…`, `IP:…`). */
export interface Authority extends Pair {
  sign(name: string, ...subjectAltNames: string[]): Pair;
}

/** Makes an authority; its files go with the test. Without openssl the test is skipped and the answer is undefined. */
export function createAuthority(t: Cleanup & Skippable, name: string): Authority | undefined {
  const openssl = requireProgram(t, 'openssl');
  if (openssl === undefined) return undefined;
  const dir = tempDir(t);
  const run = (...args: string[]): void => {
    execFileSync(openssl, args, { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'] });
  };
  const pair = (base: string): Pair => {
    const [certFile, keyFile] = [join(dir, `${base}.crt`), join(dir, `${base}.key`)];
    return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  run('req', '-x509', ...newKey, '-keyout', 'ca.key', '-out', 'ca.crt', '-days', '2', '-subj', `/CN=${name}`);
  return {
    ...pair('ca'),
    sign(subject, ...subjectAltNames) {
      const base = `leaf-${subject}`;
      run('req', ...newKey, '-keyout', `${base}.key`, '-out', `${base}.csr`, '-subj', `/CN=${subject}`);
      const extensions = subjectAltNames.length === 0 ? '' : `subjectAltName=${subjectAltNames.join(',')}\n`;
      writeFileSync(join(dir, `${base}.ext`), `basicConstraints=CA:FALSE\n${extensions}`);
      const signing = [
        '-CA',
        'ca.crt',
        '-CAkey',
        'ca.key',
        '-CAcreateserial',
        '-days',
        '2',
        '-extfile',
        `${base}.ext`,
      ];
      run('x509', '-req', '-in', `${base}.csr`, '-out', `${base}.crt`, ...signing);
      return pair(base);
    },
  };
}
