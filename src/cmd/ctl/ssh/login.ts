/** Logs in to nodes for `edge ctl ssh`, `exec` and `cp`, with what their flags say, and writes the audit log. */
import { join } from 'node:path';
import type { Command } from 'commander';
import { NODE_MAINTENANCES, ROUTERS } from '../../../api/edge.ts';
import type { NodeMaintenance, Router } from '../../../api/gen/types.ts';
import { systemClock } from '../../../lib/clock.ts';
import { EdgeError } from '../../../lib/errors.ts';
import type { OptionValues } from '../../../lib/options.ts';
import type { AuditLog, AuditRecord } from '../../../ssh/audit.ts';
import type { HostKey } from '../../../ssh/host-key.ts';
import { openKnownHosts } from '../../../ssh/known-hosts.ts';
import type { KnownHosts } from '../../../ssh/known-hosts.ts';
import { connectNode } from '../../../ssh/node-connection.ts';
import type { NodeConnection, TunnelCredentials } from '../../../ssh/node-connection.ts';
import { findNode } from '../../../ssh/node-target.ts';
import type { NodeTarget } from '../../../ssh/node-target.ts';
import { openSession } from '../../../ssh/session.ts';
import type { SshSession } from '../../../ssh/session.ts';
import { readOptions, readTextFile } from '../../options.ts';
import { readCredentials } from '../node-tunnel.ts';
import type { Session } from '../verb.ts';
import { hearBrokenPipe } from './interruption.ts';
import { MethodSource } from './methods.ts';
import { createPrompter, NO_PROMPTER } from './prompter.ts';
import { localUser, openAudit, operatorName, sessionOptions } from './settings.ts';

/** A session on a node. */
export interface NodeSession {
  readonly node: string;
  readonly user: string;
  readonly ssh: SshSession;
  /** Ends session and tunnel. */
  close(): Promise<void>;
}

/** What the operator's flags make possible. */
export interface Access {
  readonly settings: OptionValues<typeof sessionOptions>;
  /** The nodes whose labels match; all without a selector. */
  nodes(selector: string | undefined): Promise<readonly NodeMaintenance[]>;
  /** Logs in to a node, by any of its names. */
  open(name: string, options: LoginOptions): Promise<NodeSession>;
  /** Writes a line of the audit log; a failure is told, and changes nothing else. */
  audit(record: Omit<AuditRecord, 'operator'>): Promise<void>;
}

/** How to log in. */
export interface LoginOptions {
  /** Who to be on the node; this side's user when undefined. */
  user: string | undefined;
  /** The ssh-agent that commands there may use. */
  forwardedAgent?: string;
  signal?: AbortSignal;
}

/** Checks the flags of a parsed verb, and opens the files that are needed whatever happens. */
export async function createAccess(command: Command, session: Session): Promise<Access> {
  const settings = readOptions(command, sessionOptions);
  hearBrokenPipe();
  const { identity = [] } = command.opts<{ identity?: string[] }>();
  const { dataDir, warn } = session;
  const credentials = readCredentials(settings);
  const password =
    settings.passwordFile === undefined
      ? undefined
      : readTextFile(settings.passwordFile, '--password-file').replace(/\r?\n$/u, '');
  const audit = await openAudit(settings.auditLog, dataDir);
  const knownHosts = await openKnownHosts(settings.knownHosts ?? join(dataDir, 'known_hosts'));
  const methods = new MethodSource(
    {
      identities: identity,
      certificate: settings.certificate,
      agent: settings.identitiesOnly ? undefined : process.env['SSH_AUTH_SOCK'] || undefined,
      password,
    },
    settings.batch ? NO_PROMPTER : createPrompter(),
  );
  const onUnknown = ({ node, type, fingerprint }: HostKey): Promise<boolean> => {
    if (settings.strictHostKeys) return Promise.resolve(false);
    warn(
      `Warning: nothing was known of the host key of node "${node}"; from now on it is ${type} ${fingerprint}`,
    );
    return Promise.resolve(true);
  };
  return makeAccess({ settings, session, credentials, audit, knownHosts, methods, onUnknown });
}

interface Parts {
  settings: OptionValues<typeof sessionOptions>;
  session: Session;
  credentials: TunnelCredentials;
  audit: AuditLog;
  knownHosts: KnownHosts;
  methods: MethodSource;
  onUnknown: (key: HostKey) => Promise<boolean>;
}

function makeAccess(parts: Parts): Access {
  const { settings, session, credentials, audit, methods } = parts;
  let asked: Promise<[readonly NodeMaintenance[], readonly Router[]]> | undefined;
  const objects = (): Promise<[readonly NodeMaintenance[], readonly Router[]]> =>
    (asked ??= Promise.all([
      session.client.list<NodeMaintenance>(NODE_MAINTENANCES).then(({ items }) => items),
      session.client.list<Router>(ROUTERS).then(({ items }) => items),
    ]));
  return {
    settings,
    async nodes(selector) {
      if (selector === undefined) return (await objects())[0];
      const found = await session.client.list<NodeMaintenance>(NODE_MAINTENANCES, {
        labelSelector: selector,
      });
      return found.items;
    },
    async open(name, options) {
      const [nodes, routers] = await objects();
      const target = findNode(nodes, name);
      const connection = await connectNode(target, routers, credentials, {
        clock: systemClock,
        random: Math.random,
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      try {
        return await logIn(target, connection, options, parts, methods);
      } catch (err) {
        await connection.close();
        throw err;
      }
    },
    async audit(record) {
      try {
        await audit.write({ ...record, operator: operatorName(process.env) });
      } catch (err) {
        session.warn(`Warning: the audit log lacks this session: ${String(err)}`);
      }
    },
  };
}

async function logIn(
  target: NodeTarget,
  connection: NodeConnection,
  { user = localUser(), forwardedAgent, signal }: LoginOptions,
  { knownHosts, onUnknown, session }: Parts,
  methods: MethodSource,
): Promise<NodeSession> {
  const { node, hostKeys } = target;
  const ssh = await openSession(connection.stream, {
    user,
    methods: methods.methods(user, node),
    hostKey: { node, told: hostKeys, knownHosts, onUnknown },
    clock: systemClock,
    onBanner: (text) => session.warn(text.replace(/[^\P{Cc}\n\t]/gu, '').trimEnd()),
    ...(forwardedAgent === undefined ? {} : { forwardedAgent }),
    ...(signal === undefined ? {} : { signal }),
  });
  return {
    node,
    user,
    ssh,
    async close() {
      ssh.close();
      await ssh.closed;
      await connection.close();
    },
  };
}

/** The text of an audit record's `error`. */
export function auditError(err: unknown): string {
  return err instanceof EdgeError ? `${err.code}: ${err.message}` : String(err);
}
