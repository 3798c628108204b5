/** What `edge ctl inject` adds to a manifest: the sidecar, its volumes and the pod's DNS, as changes of paths. Pure. */
import { dirname } from 'node:path';
import { UsageError } from '../../lib/errors.ts';
import type { YamlChange, YamlPath } from '../../lib/yaml-edit.ts';

/** The name of the container that is added, and the first part of the names of its volumes. */
export const CONTAINER = 'edge-sidecar';
/** What an injection adds, by name. */
const OURS: ReadonlySet<string> = new Set(['', '-api', '-data', '-secret'].map((part) => CONTAINER + part));
/** Where the Secret is mounted. */
const SECRET_DIR = '/etc/edge';
/** Where the sidecar answers names; the pod's resolver is pointed at it. */
const DNS_SERVER = '127.0.0.2';
/** A List may hold Lists; deeper than this is a mistake. */
const MAX_DEPTH = 4;

/** What the command line says. */
export interface Injection {
  image: string;
  mapped: string | undefined;
  exported: string | undefined;
  secret: string | undefined;
  /** Where other names go; undefined leaves the pod's DNS as it is. */
  dnsUpstream: string | undefined;
  /** Of manifests that name none. */
  namespace: string;
  clusterDomain: string;
  /** The unix socket of the node's API server. */
  socket: string;
}

type Fields = Record<string, unknown>;

/** Where kinds have the spec of their pods. */
const POD_SPECS: Readonly<Record<string, YamlPath>> = {
  Pod: ['spec'],
  Deployment: ['spec', 'template', 'spec'],
  StatefulSet: ['spec', 'template', 'spec'],
  DaemonSet: ['spec', 'template', 'spec'],
  ReplicaSet: ['spec', 'template', 'spec'],
  Job: ['spec', 'template', 'spec'],
  CronJob: ['spec', 'jobTemplate', 'spec', 'template', 'spec'],
};
/** These end when their containers do, which a sidecar never does: in them it is an init container that stays. */
const ENDING: ReadonlySet<string> = new Set(['Job', 'CronJob']);

/** The changes that put the sidecar into a manifest; none for kinds without pods. Throws UsageError that names `where`. */
export function injectionChanges(
  value: unknown,
  injection: Injection,
  where: string,
  base: YamlPath = [],
): YamlChange[] {
  if (value === null || value === undefined) return []; // an empty document
  if (!isFields(value)) throw new UsageError(`${where}: wanted an object`);
  const { kind, apiVersion, items } = value;
  if (typeof kind !== 'string' || typeof apiVersion !== 'string')
    throw new UsageError(`${where}: no manifest: kind or apiVersion is missing`);
  if (kind.endsWith('List') && Array.isArray(items)) {
    if (base.length >= MAX_DEPTH * 2) throw new UsageError(`${where}: lists within lists`);
    return items.flatMap((item, at) =>
      injectionChanges(item, injection, `${where}, item ${at + 1}`, [...base, 'items', at]),
    );
  }
  const path = Object.hasOwn(POD_SPECS, kind) ? POD_SPECS[kind] : undefined;
  if (path === undefined) return [];
  const metadata = isFields(value['metadata']) ? value['metadata'] : {};
  const named = `${where}: ${kind} ${textOr(metadata['name'], 'without a name')}`;
  const spec = path.reduce<unknown>((at, key) => (isFields(at) ? at[key] : undefined), value);
  const isListed = isFields(spec) && Array.isArray(spec['containers']) && spec['containers'].length > 0;
  if (!isListed) throw new UsageError(`${named}: ${path.join('.')}.containers is missing or empty`);
  if (spec['hostNetwork'] === true)
    throw new UsageError(`${named}: hostNetwork is set`, {
      hint: "such a pod shares the node's loopback addresses: run one edge sidecar on the node for all of them",
    });
  if (injection.dnsUpstream === undefined && asksSidecarOnly(spec))
    throw new UsageError(`${named}: its only nameserver is the sidecar, which would know no other names`, {
      hint: 'an earlier injection set it: give --dns-upstream again, or inject the original manifest',
    });
  const namespace = textOr(metadata['namespace'], injection.namespace);
  return specChanges(spec, injection, { namespace, isEnding: ENDING.has(kind) }).map((change) => ({
    ...change,
    path: [...base, ...path, ...change.path],
  }));
}

function specChanges(
  spec: Fields,
  injection: Injection,
  pod: { namespace: string; isEnding: boolean },
): YamlChange[] {
  const container = sidecarContainer(injection, pod.isEnding);
  const own = pod.isEnding ? 'initContainers' : 'containers';
  const other = pod.isEnding ? 'containers' : 'initContainers';
  return [
    // an init container that stays must be there before the others run
    ...withNamed(spec, own, [container], pod.isEnding),
    ...withNamed(spec, other, [], false),
    ...withNamed(spec, 'volumes', volumes(injection), false),
    ...(injection.dnsUpstream === undefined ? [] : dnsChanges(spec, injection, pod.namespace)),
  ];
}

/**
 * Puts the wanted entries into a list of named ones: in the place of those of the same name, others at an end of it.
 * Entries that an earlier injection left and that are not wanted any more go.
 */
function withNamed(spec: Fields, key: string, wanted: readonly Fields[], isFirst: boolean): YamlChange[] {
  const list = Array.isArray(spec[key]) ? (spec[key] as unknown[]) : [];
  const nameOf = (entry: unknown): string => (isFields(entry) ? textOr(entry['name'], '') : '');
  const stale = list.flatMap((entry, at) => {
    const name = nameOf(entry);
    return OURS.has(name) && !wanted.some((each) => each['name'] === name) ? [at] : [];
  });
  const missing = wanted.filter((entry) => !list.some((each) => nameOf(each) === entry['name']));
  if (list.length === 0) return wanted.length === 0 ? [] : [{ path: [key], value: wanted }];
  if (stale.length === list.length && wanted.length === 0) return [{ path: [key], value: undefined }];
  if (isFirst && missing.length > 0) return [{ path: [key], value: [...missing, ...list] }];
  const replaced = wanted.flatMap((entry) => {
    const at = list.findIndex((each) => nameOf(each) === entry['name']);
    return at === -1 ? [] : [{ path: [key, at], value: entry }];
  });
  const added = missing.map((entry, at) => ({ path: [key, list.length + at], value: entry }));
  const removed = stale.reverse().map((at) => ({ path: [key, at], value: undefined }));
  return [...replaced, ...added, ...removed];
}

function sidecarContainer(injection: Injection, isEnding: boolean): Fields {
  const { image, mapped, exported, secret, dnsUpstream, clusterDomain, socket } = injection;
  const env = [
    field('POD_NAME', 'metadata.name'),
    field('POD_NAMESPACE', 'metadata.namespace'),
    field('EDGE_NODE_NAME', 'spec.nodeName'),
    { name: 'EDGE_SERVER', value: `unix://${socket}` },
    { name: 'EDGE_DATA_DIR', value: '/var/lib/edge' },
    ...text('SIDECAR_MAPPED_SERVICES', mapped),
    ...text('SIDECAR_EXPORTED_SERVICES', exported),
    ...text('SIDECAR_CLUSTER_DOMAIN', clusterDomain === 'cluster.local' ? undefined : clusterDomain),
    // without mapped services there are no names to answer, unless the pod's resolver was pointed here
    ...text('SIDECAR_DNS_ADDR', mapped === undefined && dnsUpstream === undefined ? 'off' : undefined),
    ...text('SIDECAR_DNS_UPSTREAM', dnsUpstream),
    ...text('EDGE_ROUTER_TOKEN_FILE', secret === undefined ? undefined : `${SECRET_DIR}/router-token`),
    ...text('SIDECAR_SECRET_KEY_FILE', secret === undefined ? undefined : `${SECRET_DIR}/secret-key`),
  ];
  return {
    name: CONTAINER,
    image,
    command: ['edge', 'sidecar'],
    ...(isEnding ? { restartPolicy: 'Always', startupProbe: probe(1, 60) } : {}),
    env,
    readinessProbe: probe(5, 3),
    // root without root's rights: the socket belongs to the node's user edge, and names are answered at port 53
    securityContext: {
      runAsUser: 0,
      runAsNonRoot: false,
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'], add: ['DAC_OVERRIDE', 'NET_BIND_SERVICE'] },
    },
    volumeMounts: [
      { name: `${CONTAINER}-api`, mountPath: dirname(socket), readOnly: true },
      { name: `${CONTAINER}-data`, mountPath: '/var/lib/edge' },
      ...(secret === undefined
        ? []
        : [{ name: `${CONTAINER}-secret`, mountPath: SECRET_DIR, readOnly: true }]),
    ],
  };
}

/** The admin address is on loopback, where the kubelet's HTTP probes do not reach; node is there, as edge runs on it. */
function probe(periodSeconds: number, failureThreshold: number): Fields {
  const ask =
    "require('node:http').get('http://127.0.0.1:7460/readyz',r=>process.exit(r.statusCode===200?0:1)).on('error',()=>process.exit(1))";
  return { exec: { command: ['node', '-e', ask] }, periodSeconds, timeoutSeconds: 5, failureThreshold };
}

function volumes({ secret, socket }: Injection): Fields[] {
  return [
    // the directory: a socket of its own would be that of an API server that has ended
    { name: `${CONTAINER}-api`, hostPath: { path: dirname(socket), type: 'Directory' } },
    { name: `${CONTAINER}-data`, emptyDir: {} },
    ...(secret === undefined ? [] : [{ name: `${CONTAINER}-secret`, secret: secretOf(secret) }]),
  ];
}

function secretOf(secretName: string): Fields {
  return { secretName, items: ['router-token', 'secret-key'].map((key) => ({ key, path: key })) };
}

function asksSidecarOnly({ dnsConfig }: Fields): boolean {
  const servers = isFields(dnsConfig) ? dnsConfig['nameservers'] : undefined;
  return Array.isArray(servers) && servers.length === 1 && servers[0] === DNS_SERVER;
}

function dnsChanges(spec: Fields, { clusterDomain }: Injection, namespace: string): YamlChange[] {
  const nameservers: YamlChange = { path: ['dnsConfig', 'nameservers'], value: [DNS_SERVER] };
  // a pod that chose its search list keeps it; the policy of the others would put their nameservers first
  if (spec['dnsPolicy'] === 'None' && isFields(spec['dnsConfig'])) return [nameservers];
  const given = isFields(spec['dnsConfig']) ? spec['dnsConfig'] : {};
  const own = Array.isArray(given['searches']) ? (given['searches'] as unknown[]) : [];
  const cluster = [`${namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain];
  const options = Array.isArray(given['options']) ? (given['options'] as unknown[]) : [];
  const hasNdots = options.some((option) => isFields(option) && option['name'] === 'ndots');
  return [
    { path: ['dnsPolicy'], value: 'None' },
    {
      path: ['dnsConfig'],
      value: {
        nameservers: [DNS_SERVER],
        searches: [...cluster, ...own.filter((each) => !cluster.includes(String(each)))],
        options: hasNdots ? options : [...options, { name: 'ndots', value: '5' }],
      },
    },
  ];
}

function field(name: string, fieldPath: string): Fields {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}

function text(name: string, value: string | undefined): Fields[] {
  return value === undefined ? [] : [{ name, value }];
}

function textOr(value: unknown, otherwise: string): string {
  return typeof value === 'string' && value !== '' ? value : otherwise;
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
