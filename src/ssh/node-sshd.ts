/** The node's sshd as an exported service: a stable id of the node, and the public host keys that identify its sshd. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MAINTENANCE_NAMESPACE } from '../api/edge.ts';
import { isUniqueId, sshServiceName } from '../api/maintenance.ts';
import { parseHostPort } from '../lib/address.ts';
import type { HostPort } from '../lib/address.ts';
import { errorCode, errorMessage, UsageError } from '../lib/errors.ts';

/** A public host key of the node's sshd, as it stands in its file. */
export interface HostKeyFile {
  path: string;
  text: string;
}

/** What is read from the machine. */
export interface MaintenanceHost {
  /** Public host keys in a directory, in the order of their names. Throws UsageError when it cannot be read. */
  hostKeys(dir: string): HostKeyFile[];
  /** Permanent hardware addresses, in the order of their interfaces' names. */
  macAddresses(): string[];
  /** The text of /etc/machine-id; undefined when there is none. */
  machineId(): string | undefined;
}

/** The sshd as a service of the tunnel. */
export interface SshdService {
  name: string;
  namespace: string;
  port: number;
  protocol: 'TCP';
  target: HostPort;
  metas: Readonly<Record<string, string>>;
}

/** What the operator says about it. */
export interface MaintenanceSettings {
  target: string;
  uniqueId: string | undefined;
  hostKeyDir: string;
}

/** Hex digits of a made id: 64 bits, unique among any fleet of nodes. */
const ID_DIGITS = 16;
/** All keys go in one message of the tunnel, which frp limits to 10240 bytes. */
const MAX_KEYS_LENGTH = 6000;
/** A public key line of OpenSSH: type, base64, comment. */
const KEY_LINE = /^((?:ssh|ecdsa|sk)-[-a-z0-9@.]{1,60}) ([A-Za-z0-9+/]+={0,2})(?:\s|$)/u;

/** The service that leads to the node's sshd, and the files to read again when they change. */
export function maintenanceExport(
  settings: MaintenanceSettings,
  host: MaintenanceHost,
  node: string,
): { service: SshdService; uniqueId: string; files: string[] } {
  const target = parseHostPort(settings.target, '--maintenance-target (EDGE_MAINTENANCE_TARGET)');
  if (target.port < 1) throw new UsageError('--maintenance-target (EDGE_MAINTENANCE_TARGET): the port is 0');
  const uniqueId = checkUniqueId(settings.uniqueId ?? madeId(host, node));
  const keys = host.hostKeys(settings.hostKeyDir);
  const service: SshdService = {
    name: sshServiceName(uniqueId),
    namespace: MAINTENANCE_NAMESPACE,
    port: target.port,
    protocol: 'TCP',
    target,
    metas: { type: 'ssh', uniqueId, hostKeys: keyLines(keys).join('\n') },
  };
  return { service, uniqueId, files: keys.map(({ path }) => path) };
}

/** A hash, because hardware addresses and machine ids are not for everybody to read. */
function madeId(host: MaintenanceHost, node: string): string {
  const source = host.macAddresses()[0] ?? host.machineId()?.trim() ?? '';
  return createHash('sha256')
    .update(`edge maintenance ${source === '' ? node : source.toLowerCase()}`)
    .digest('hex')
    .slice(0, ID_DIGITS);
}

function checkUniqueId(text: string): string {
  if (!isUniqueId(text))
    throw new UsageError(
      `--unique-id (EDGE_MAINTENANCE_UNIQUE_ID): "${text}" is not an id (lower-case letters, digits and "-", 59 characters at most)`,
    );
  return text;
}

/** `TYPE BASE64` of every key; comments name users and machines, and are left out. */
function keyLines(keys: readonly HostKeyFile[]): string[] {
  const lines: string[] = [];
  let length = 0;
  for (const { text } of keys) {
    const [, type, blob] = KEY_LINE.exec(text) ?? [];
    if (type === undefined || blob === undefined) continue;
    const line = `${type} ${blob}`;
    length += line.length + 1;
    if (length > MAX_KEYS_LENGTH) break;
    lines.push(line);
  }
  return lines;
}

/** The machine itself; `sysNet` is where Linux lists interfaces. */
export function createMaintenanceHost(sysNet = '/sys/class/net'): MaintenanceHost {
  return {
    hostKeys(dir) {
      try {
        return readdirSync(dir)
          .filter((name) => /^ssh_host_\w+_key\.pub$/u.test(name))
          .sort()
          .map((name) => ({ path: join(dir, name), text: readFileSync(join(dir, name), 'utf8') }));
      } catch (err) {
        if (errorCode(err) === 'ENOENT') return []; // an sshd that is not installed yet, or runs elsewhere
        throw new UsageError(`--host-key-dir (EDGE_MAINTENANCE_HOST_KEY_DIR): ${errorMessage(err)}`);
      }
    },
    macAddresses: () =>
      namesIn(sysNet).flatMap((name) => {
        const address = textOf(join(sysNet, name, 'address')) ?? '';
        // 0 is NET_ADDR_PERM: bridges, veth pairs and phones have addresses that change
        const isPermanent = textOf(join(sysNet, name, 'addr_assign_type')) === '0';
        return isPermanent && /^[0-9a-f:]{17}$/u.test(address) && /[1-9a-f]/u.test(address) ? [address] : [];
      }),
    machineId: () => textOf('/etc/machine-id'),
  };
}

function namesIn(dir: string): string[] {
  try {
    return readdirSync(dir).sort();
  } catch {
    return []; // no such file system here
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined; // some interfaces have no address to read
  }
}
