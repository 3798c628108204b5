/** The sidecar's settings by flag, variable and key of the configuration file, with their defaults. */
import { UsageError } from '../lib/errors.ts';
import {
  choiceOption,
  durationOption,
  integerOption,
  listOption,
  stringOption,
  switchOption,
  textOption,
} from '../lib/options.ts';
import { LB_POLICIES } from './balancer.ts';
import type { LbPolicy } from './balancer.ts';

/** TLS between the sidecar and Routers. */
export const TLS_MODES = ['auto', 'on', 'off'] as const;

/** Which providers are tried first. */
export const LOCALITIES = ['sameNode', 'off'] as const;
/** A locality. */
export type Locality = (typeof LOCALITIES)[number];

/** What a name without a ready provider answers. */
export const NOT_READY_ANSWERS = ['address', 'servfail'] as const;

/** Every setting of the sidecar. */
export const sidecarOptions = {
  mappedServices: listOption({
    description: 'services to bring here: NAME[.NAMESPACE[.CLUSTER]][:PORT][/tcp|udp], separated by commas',
    placeholder: 'LIST',
    env: 'SIDECAR_MAPPED_SERVICES',
  }),
  exportedServices: listOption({
    description: 'services to publish: NAME[.NAMESPACE]=[HOST:]PORT[/tcp|udp], separated by commas',
    placeholder: 'LIST',
    env: 'SIDECAR_EXPORTED_SERVICES',
  }),
  maintenance: switchOption({
    description: "publish the node's sshd, for operators to reach the node",
    env: 'EDGE_MAINTENANCE',
  }),
  maintenanceTarget: textOption({
    description: 'where the sshd of --maintenance listens',
    placeholder: 'HOST:PORT',
    default: '127.0.0.1:22',
    env: 'EDGE_MAINTENANCE_TARGET',
  }),
  uniqueId: stringOption({
    description: "the node's id for maintenance (default a hash of its hardware address)",
    placeholder: 'ID',
    env: 'EDGE_MAINTENANCE_UNIQUE_ID',
  }),
  hostKeyDir: textOption({
    description: "directory of the sshd's ssh_host_*_key.pub",
    placeholder: 'DIR',
    default: '/etc/ssh',
    env: 'EDGE_MAINTENANCE_HOST_KEY_DIR',
  }),
  ipRange: textOption({
    description: 'where mapped services get their address',
    placeholder: 'CIDR',
    default: '127.0.66.0/24',
    env: 'SIDECAR_IP_RANGE',
  }),
  dnsAddr: textOption({
    description: 'address of the DNS responder, or "off"',
    placeholder: 'HOST:PORT',
    default: '127.0.0.2:53',
    env: 'SIDECAR_DNS_ADDR',
  }),
  dnsUpstream: listOption({
    description: 'where names that are not mapped are asked for (default from /etc/resolv.conf)',
    placeholder: 'HOST[:PORT]',
    env: 'SIDECAR_DNS_UPSTREAM',
  }),
  dnsAllowRemote: switchOption({
    description: 'answer DNS clients on other machines too; without it only those of 127.0.0.0/8 and ::1',
    env: 'SIDECAR_DNS_ALLOW_REMOTE',
  }),
  clusterDomain: textOption({
    description: 'suffix of service names',
    placeholder: 'DOMAIN',
    default: 'cluster.local',
    env: 'SIDECAR_CLUSTER_DOMAIN',
  }),
  namespace: textOption({
    description: 'namespace of services named without one',
    placeholder: 'NAME',
    default: 'default',
    env: ['SIDECAR_NAMESPACE', 'POD_NAMESPACE'],
  }),
  podName: stringOption({
    description: "this provider's name (default the host name)",
    placeholder: 'NAME',
    env: ['SIDECAR_POD_NAME', 'POD_NAME'],
  }),
  node: stringOption({
    description: 'the node this runs on; its Router is preferred (default the host name)',
    placeholder: 'NAME',
    env: ['EDGE_NODE_NAME', 'NODE_NAME'],
  }),
  routers: listOption({
    description: 'use only these Routers; without --lb-policy in this order of preference',
    placeholder: 'NAMES',
    env: 'SIDECAR_ROUTERS',
  }),
  lbPolicy: stringOption({
    description: `how connections spread over Routers: ${LB_POLICIES.join(', ')} (default roundRobin)`,
    placeholder: 'POLICY',
    env: 'SIDECAR_LB_POLICY',
    check: checkPolicy,
  }),
  secretKey: stringOption({
    description: 'secret that providers and consumers share',
    env: 'SIDECAR_SECRET_KEY',
    hasFlag: false,
  }),
  secretKeyFile: stringOption({
    description: 'file that holds the secret which providers and consumers share',
    placeholder: 'FILE',
    env: 'SIDECAR_SECRET_KEY_FILE',
  }),
  requireSealed: switchOption({
    description: 'refuse connections that are not sealed from end to end; set it on both sides',
    env: 'SIDECAR_REQUIRE_SEALED',
  }),
  routerToken: stringOption({ description: 'token for Routers', env: 'EDGE_ROUTER_TOKEN', hasFlag: false }),
  routerTokenFile: stringOption({
    description: 'file that holds the token for Routers, or a YAML map of Router names to tokens',
    placeholder: 'FILE',
    env: 'EDGE_ROUTER_TOKEN_FILE',
  }),
  routerTls: choiceOption({
    description: 'TLS to Routers: on (unix sockets excepted), auto (also not on loopback) or off',
    choices: TLS_MODES,
    default: 'on',
    env: 'SIDECAR_ROUTER_TLS',
  }),
  routerCaFile: stringOption({
    description: "PEM file of the authorities that may sign Routers' certificates (default: not verified)",
    placeholder: 'FILE',
    env: 'SIDECAR_ROUTER_CA_FILE',
  }),
  importsFile: stringOption({
    description: 'YAML file of further services to bring here; re-read when it changes',
    placeholder: 'FILE',
    env: 'SIDECAR_IMPORTS_FILE',
  }),
  exportsFile: stringOption({
    description: 'YAML file of further services to publish; re-read when it changes',
    placeholder: 'FILE',
    env: 'SIDECAR_EXPORTS_FILE',
  }),
  cacheDir: stringOption({
    description: 'where addresses and last seen Routers are remembered (default DATA-DIR/sidecar)',
    placeholder: 'DIR',
    env: 'SIDECAR_CACHE_DIR',
  }),
  adminAddr: textOption({
    description: 'address of /healthz, /readyz, /metrics and /status, or "off"',
    placeholder: 'HOST:PORT',
    default: '127.0.0.1:7460',
    env: 'SIDECAR_ADMIN_ADDR',
  }),
  parkTimeout: durationOption({
    description: 'how long a connection waits for a provider to come',
    default: '5s',
    env: 'SIDECAR_PARK_TIMEOUT',
  }),
  maxParked: integerOption({
    description: 'the most connections that wait at once',
    default: 1024,
    min: 0,
    max: 65_536,
    env: 'SIDECAR_MAX_PARKED',
  }),
  connectTimeout: durationOption({
    description: 'how long one provider, and the target of an export, has to accept a connection',
    default: '5s',
    env: 'SIDECAR_CONNECT_TIMEOUT',
  }),
  idleTimeout: durationOption({
    description: 'close connections without a byte for this long; 0 never does',
    default: '0s',
    env: 'SIDECAR_IDLE_TIMEOUT',
  }),
  maxConnections: integerOption({
    description: 'the most open connections of one service; further ones are refused',
    default: 16_384,
    min: 1,
    max: 1_000_000,
    env: 'SIDECAR_MAX_CONNECTIONS',
  }),
  locality: choiceOption({
    description: 'prefer providers on the same node, or treat all alike',
    choices: LOCALITIES,
    default: 'sameNode',
    env: 'SIDECAR_LOCALITY',
  }),
  ejectAfter: integerOption({
    description: 'failures in a row after which a provider is left out for a while; 0 never leaves one out',
    default: 3,
    min: 0,
    max: 1000,
    env: 'SIDECAR_EJECT_AFTER',
  }),
  ejectTime: durationOption({
    description: 'how long it is left out at first; doubled each time, up to 12 times as long',
    default: '5s',
    env: 'SIDECAR_EJECT_TIME',
  }),
  notReadyAnswer: choiceOption({
    description: 'what the name of a service without a ready provider answers: its address, or SERVFAIL',
    choices: NOT_READY_ANSWERS,
    default: 'address',
    env: 'SIDECAR_NOT_READY_ANSWER',
  }),
};

/** Throws UsageError unless `text` is a policy. */
export function checkPolicy(text: string, what: string): LbPolicy {
  const policy = LB_POLICIES.find((name) => name === text);
  if (policy === undefined)
    throw new UsageError(`${what}: "${text}" is not one of ${LB_POLICIES.join(', ')}`);
  return policy;
}
