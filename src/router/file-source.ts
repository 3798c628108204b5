/** The configuration of a router as a frps configuration file says: no API server is needed or reported to. */
import { isDeepStrictEqual } from 'node:util';
import type { Clock, Timer } from '../lib/clock.ts';
import type { Logger } from '../lib/log.ts';
import type { RouterDefaults } from './config.ts';
import { buildFrpsConfig, frpsFiles, frpsLog, readFrpsSettings } from './frps-file/config.ts';
import type { FrpsLog } from './frps-file/config.ts';
import type { SecretReader } from './secrets.ts';
import type { ConfigSource } from './source.ts';

/** What the source needs. */
export interface FileSourceDeps {
  clock: Clock;
  log: Logger;
  secrets: SecretReader;
}

/** A file that is written in place is short for a moment, and a short one may well be valid: without its token. */
const SETTLE_MS = 200;

/** Creates the source of a file; `overrides` are the flags given beside it. */
export function createFileSource(
  path: string,
  overrides: RouterDefaults,
  deps: FileSourceDeps,
): ConfigSource {
  const { clock, log, secrets } = deps;
  let offered: string | undefined;
  let resting: string | undefined;
  let settle: Timer | undefined;
  let files: readonly string[] = [];
  let startLog: FrpsLog | undefined;
  const listeners: (() => void)[] = [];

  const look = (): string => {
    const now = secrets.stamp(path);
    if (offered === undefined || now === offered) {
      offered = now;
      resting = undefined;
    } else if (now === resting) {
      if (settle === undefined) {
        offered = now;
        resting = undefined;
      }
    } else {
      resting = now;
      settle?.cancel();
      settle = clock.after(SETTLE_MS, () => {
        settle = undefined;
        for (const listener of listeners) listener();
      });
    }
    return offered;
  };

  return {
    name: 'configuration',
    status: undefined,
    async start() {},
    async stop() {
      settle?.cancel();
    },
    read() {
      const stamps = [look(), ...files.map((file) => secrets.stamp(file))];
      return {
        state: 'present',
        key: JSON.stringify([files, stamps]),
        load: () => {
          const settings = readFrpsSettings(path, secrets);
          // Known before the build, so that a file that is missing now is noticed when it comes.
          files = frpsFiles(settings, overrides);
          const config = buildFrpsConfig(path, settings, overrides, secrets);
          const newLog = frpsLog(settings);
          startLog ??= newLog;
          if (!isDeepStrictEqual(newLog, startLog))
            log.warn('log settings of the file are read at start only; restart to change them', { path });
          return config;
        },
      };
    },
    onChange: (listener) => void listeners.push(listener),
    accepted() {},
    refresh() {
      settle?.cancel();
      settle = undefined;
      offered = undefined;
    },
  };
}
