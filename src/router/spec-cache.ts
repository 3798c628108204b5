/**
 * The last spec that was in force, on disk: a router that restarts while its API server is away serves with it.
 * Losing it costs time, never correctness; secrets are not in it, since a spec only names where they are.
 */
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { RouterSpec, RouterSpecFrps } from '../api/gen/types.ts';
import { writeFileAtomic } from '../lib/atomic-file.ts';
import { errorCode, errorMessage } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { isRecord } from '../lib/json.ts';

/** The remembered spec of one Router. No call rejects or throws. */
export interface SpecCache {
  load(): Promise<RouterSpec | undefined>;
  /** Keeps a spec; an equal one is not written again. */
  save(spec: RouterSpec): void;
  /** Forgets, as when the object was deleted. */
  drop(): void;
  /** Resolves when everything asked for so far is on disk. */
  settled(): Promise<void>;
}

const FORMAT_VERSION = 1;

/** Creates the cache in `dir`/router-NODE.json, readable by its owner only. */
export function createSpecCache(dir: string, node: string, log: Logger): SpecCache {
  const path = join(dir, `router-${node}.json`);
  let kept: string | undefined;
  let work: Promise<void> = Promise.resolve();
  const queue = (step: () => Promise<void>): void => {
    work = work.then(step).catch((err: unknown) => {
      log.warn('cannot keep the spec; a restart without the API server has to wait for it', {
        path,
        error: errorMessage(err),
      });
    });
  };
  return {
    async load() {
      try {
        return parseCachedSpec(await readFile(path, 'utf8'));
      } catch (err) {
        if (errorCode(err) !== 'ENOENT')
          log.warn('ignoring the kept spec', { path, error: errorMessage(err) });
        return undefined;
      }
    },
    save(spec) {
      const text = `${JSON.stringify({ version: FORMAT_VERSION, spec: withoutSecrets(spec) })}\n`;
      if (text === kept) return;
      kept = text;
      queue(() => writeFileAtomic(path, text, 0o600));
    },
    drop() {
      if (kept === '') return;
      kept = '';
      queue(() => rm(path, { force: true }));
    },
    settled: () => work,
  };
}

/** Reads the file's text; throws when it is damaged or of another version. */
export function parseCachedSpec(text: string): RouterSpec {
  const value: unknown = JSON.parse(text);
  if (!isRecord(value) || value['version'] !== FORMAT_VERSION) throw new Error('not a spec of this version');
  const { spec } = value;
  if (!isRecord(spec) || !isRecord(spec['frps'])) throw new Error('the spec is damaged');
  return spec as unknown as RouterSpec;
}

/** Only what the router reads; an API server that lets unknown fields pass could hold a password in one. */
function withoutSecrets(spec: RouterSpec): RouterSpec {
  const { frps, loadBalancing } = spec;
  const kept: Partial<RouterSpecFrps> = {};
  for (const key of KEPT) if (frps[key] !== undefined) Object.assign(kept, { [key]: frps[key] });
  const { auth, dashboardPasswordFrom } = frps;
  return {
    frps: {
      ...kept,
      bindPort: frps.bindPort,
      ...(auth === undefined ? {} : { auth: keptAuth(auth) }),
      ...(dashboardPasswordFrom === undefined
        ? {}
        : { dashboardPasswordFrom: reference(dashboardPasswordFrom) }),
    },
    ...(loadBalancing?.policy === undefined ? {} : { loadBalancing: { policy: loadBalancing.policy } }),
  };
}

const KEPT = [
  'bindAddr',
  'proxyBindAddr',
  'dashboardAddr',
  'dashboardPort',
  'dashboardUser',
  'allowPorts',
  'maxPortsPerClient',
  'userConnTimeout',
  'udpPacketSize',
  'transport',
] as const satisfies readonly (keyof RouterSpecFrps)[];

function keptAuth({ method, tokenFrom, additionalScopes }: NonNullable<RouterSpecFrps['auth']>) {
  return {
    ...(method === undefined ? {} : { method }),
    ...(tokenFrom === undefined ? {} : { tokenFrom: reference(tokenFrom) }),
    ...(additionalScopes === undefined ? {} : { additionalScopes }),
  };
}

function reference({ file, env }: { file?: string; env?: string }): { file?: string; env?: string } {
  return { ...(file === undefined ? {} : { file }), ...(env === undefined ? {} : { env }) };
}
