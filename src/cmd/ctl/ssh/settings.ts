/** The flags of `edge ctl ssh`, `exec` and `cp`: who to be on a node, what to trust, what to keep. */
import { hostname, userInfo } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { NO_AUDIT, openAuditLog } from '../../../ssh/audit.ts';
import type { AuditLog } from '../../../ssh/audit.ts';
import { durationOption, stringOption, switchOption } from '../../../lib/options.ts';
import { addOptions } from '../../options.ts';
import { tunnelOptions } from '../node-tunnel.ts';
import { collect } from '../verb.ts';

/** Settings of every verb that logs in to nodes. */
export const sessionOptions = {
  ...tunnelOptions,
  certificate: stringOption({
    description: 'OpenSSH certificate of the identity (default the identity with -cert.pub)',
    placeholder: 'FILE',
  }),
  identitiesOnly: switchOption({ description: 'use no ssh-agent, only the keys of --identity' }),
  passwordFile: stringOption({
    description: 'file that holds the password on the node, for programs; people are asked',
    placeholder: 'FILE',
    env: 'EDGE_SSH_PASSWORD_FILE',
  }),
  batch: switchOption({ description: 'never ask for passwords, passphrases or trust' }),
  knownHosts: stringOption({
    description: 'known_hosts file of nodes (default DATA-DIR/known_hosts)',
    placeholder: 'FILE',
    env: 'EDGE_KNOWN_HOSTS',
  }),
  strictHostKeys: switchOption({
    description: 'refuse a node whose key is not known, instead of trusting the first use',
    env: 'EDGE_STRICT_HOST_KEYS',
  }),
  idleTimeout: durationOption({
    description: 'end a session in which nothing was typed or shown for so long; 0 never does',
    default: '0',
    env: 'EDGE_SSH_IDLE_TIMEOUT',
  }),
  auditLog: stringOption({
    description: 'file that gets a JSON line for each session, or "none" (default DATA-DIR/ssh-audit.log)',
    placeholder: 'FILE',
    env: 'EDGE_AUDIT_LOG',
  }),
};

/** Adds them to a verb, `--identity` with a short form where kubectl has no other use for it. */
export function addSessionOptions(command: Command, identity = '-i, --identity'): void {
  command.option(`${identity} <FILE>`, 'private key; repeatable (default ~/.ssh/id_*)', collect);
  addOptions(command, sessionOptions);
}

/** A node, and who to be on it: `[USER@]NODE`. */
export function parseNode(text: string): { user: string | undefined; node: string } {
  const at = text.lastIndexOf('@');
  return at === -1
    ? { user: undefined, node: text }
    : { user: text.slice(0, at) || undefined, node: text.slice(at + 1) };
}

/** Who is on this side, for the audit log: the person behind sudo, where there is one. */
export function operatorName(env: NodeJS.ProcessEnv): string {
  return `${env['SUDO_USER'] ?? localUser()}@${hostname()}`;
}

/** The account this program runs under; its number where it has no name. */
export function localUser(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.getuid?.() ?? 'unknown');
  }
}

/** The audit log that the settings name. */
export function openAudit(setting: string | undefined, dataDir: string): Promise<AuditLog> {
  return setting === 'none'
    ? Promise.resolve(NO_AUDIT)
    : openAuditLog(setting ?? join(dataDir, 'ssh-audit.log'));
}
