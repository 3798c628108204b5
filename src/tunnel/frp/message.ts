/** frp's messages: names, type bytes and members, as one table that types, decoder and encoder share. */

/** Kinds of members. Zero values are left out by the encoder and filled in by the decoder, as Go does. */
type FieldKind = 'string' | 'int' | 'bool' | 'strings' | 'map' | 'bytes' | 'address' | 'object';

interface FieldTypes {
  string: string;
  int: number;
  bool: boolean;
  strings: readonly string[];
  map: Readonly<Record<string, string>>;
  /** Standard padded base64 on the wire. */
  bytes: Buffer;
  address: UdpAddress | undefined;
  object: Readonly<Record<string, unknown>>;
}

/** An address inside UDPPacket, with Go's capitalised member names on the wire. */
export interface UdpAddress {
  ip: string;
  port: number;
  zone: string;
}

interface MessageSpec {
  /** The type byte of wire protocol v1. */
  v1: string;
  /** The type id of wire protocol v2; 0 where v2 has none. */
  v2: number;
  fields: Readonly<Record<string, FieldKind>>;
}

/** Every message of frp 0.49 and later. */
export const MESSAGES = {
  Login: {
    v1: 'o',
    v2: 1,
    fields: {
      version: 'string',
      hostname: 'string',
      os: 'string',
      arch: 'string',
      user: 'string',
      privilege_key: 'string',
      timestamp: 'int',
      run_id: 'string',
      client_id: 'string',
      metas: 'map',
      client_spec: 'object',
      pool_count: 'int',
    },
  },
  LoginResp: { v1: '1', v2: 2, fields: { version: 'string', run_id: 'string', error: 'string' } },
  NewProxy: {
    v1: 'p',
    v2: 3,
    fields: {
      proxy_name: 'string',
      proxy_type: 'string',
      use_encryption: 'bool',
      use_compression: 'bool',
      bandwidth_limit: 'string',
      bandwidth_limit_mode: 'string',
      group: 'string',
      group_key: 'string',
      metas: 'map',
      annotations: 'map',
      remote_port: 'int',
      sk: 'string',
      allow_users: 'strings',
      custom_domains: 'strings',
      subdomain: 'string',
      multiplexer: 'string',
    },
  },
  NewProxyResp: { v1: '2', v2: 4, fields: { proxy_name: 'string', remote_addr: 'string', error: 'string' } },
  CloseProxy: { v1: 'c', v2: 5, fields: { proxy_name: 'string' } },
  NewWorkConn: { v1: 'w', v2: 6, fields: { run_id: 'string', privilege_key: 'string', timestamp: 'int' } },
  ReqWorkConn: { v1: 'r', v2: 7, fields: {} },
  StartWorkConn: {
    v1: 's',
    v2: 8,
    fields: {
      proxy_name: 'string',
      src_addr: 'string',
      dst_addr: 'string',
      src_port: 'int',
      dst_port: 'int',
      error: 'string',
      /** Ours: what the two ends agreed on; frpc ignores members it does not know. */
      metas: 'map',
    },
  },
  NewVisitorConn: {
    v1: 'v',
    v2: 9,
    fields: {
      run_id: 'string',
      proxy_name: 'string',
      sign_key: 'string',
      timestamp: 'int',
      use_encryption: 'bool',
      use_compression: 'bool',
      /** Ours: frps ignores members it does not know. */
      metas: 'map',
    },
  },
  NewVisitorConnResp: {
    v1: '3',
    v2: 10,
    fields: {
      proxy_name: 'string',
      error: 'string',
      /** Ours: what the two ends agreed on. */
      metas: 'map',
    },
  },
  Ping: { v1: 'h', v2: 11, fields: { privilege_key: 'string', timestamp: 'int' } },
  Pong: { v1: '4', v2: 12, fields: { error: 'string' } },
  UDPPacket: { v1: 'u', v2: 13, fields: { c: 'bytes', l: 'address', r: 'address' } },
  NatHoleVisitor: {
    v1: 'i',
    v2: 14,
    fields: {
      transaction_id: 'string',
      proxy_name: 'string',
      pre_check: 'bool',
      protocol: 'string',
      sign_key: 'string',
      timestamp: 'int',
      mapped_addrs: 'strings',
      assisted_addrs: 'strings',
    },
  },
  NatHoleClient: {
    v1: 'n',
    v2: 15,
    fields: {
      transaction_id: 'string',
      proxy_name: 'string',
      sid: 'string',
      mapped_addrs: 'strings',
      assisted_addrs: 'strings',
    },
  },
  NatHoleResp: {
    v1: 'm',
    v2: 16,
    fields: {
      transaction_id: 'string',
      sid: 'string',
      protocol: 'string',
      candidate_addrs: 'strings',
      assisted_addrs: 'strings',
      detect_behavior: 'object',
      error: 'string',
    },
  },
  NatHoleSid: {
    v1: '5',
    v2: 17,
    fields: { transaction_id: 'string', sid: 'string', response: 'bool', nonce: 'string' },
  },
  NatHoleReport: { v1: '6', v2: 18, fields: { sid: 'string', success: 'bool' } },
} as const satisfies Readonly<Record<string, MessageSpec>>;

/** The name of a message. */
export type MessageName = keyof typeof MESSAGES;

/** The members of a message, all present after decoding. */
export type MessageBody<Name extends MessageName> = {
  -readonly [
    Field in keyof (typeof MESSAGES)[Name]['fields']
  ]: (typeof MESSAGES)[Name]['fields'][Field] extends FieldKind
    ? FieldTypes[(typeof MESSAGES)[Name]['fields'][Field]]
    : never;
};

/** A message of a known name. */
export type MessageOf<Name extends MessageName> = { name: Name; body: MessageBody<Name> };
/** Any message; `name` tells which. */
export type Message = { [Name in MessageName]: MessageOf<Name> }[MessageName];

/** Members that Go always writes, also when they are empty. */
const ALWAYS_WRITTEN = new Set(['client_spec', 'detect_behavior']);

/** Makes a message; members left out have their zero value. */
export function message<Name extends MessageName>(
  name: Name,
  members: Partial<MessageBody<Name>> = {},
): MessageOf<Name> {
  return { name, body: { ...zeroBody(name), ...members } };
}

function zeroBody<Name extends MessageName>(name: Name): MessageBody<Name> {
  const body: Record<string, unknown> = {};
  for (const [field, kind] of Object.entries(MESSAGES[name].fields as MessageSpec['fields']))
    body[field] = zero(kind);
  return body as MessageBody<Name>;
}

function zero(kind: FieldKind): unknown {
  switch (kind) {
    case 'string':
      return '';
    case 'int':
      return 0;
    case 'bool':
      return false;
    case 'strings':
      return [];
    case 'bytes':
      return Buffer.alloc(0);
    case 'map':
    case 'object':
      return {};
    case 'address':
      return undefined;
  }
}

/** The JSON of a message's members, zero values left out. */
export function encodeBody(value: Message): string {
  const out: Record<string, unknown> = {};
  const fields: MessageSpec['fields'] = MESSAGES[value.name].fields;
  for (const [field, member] of Object.entries(value.body as Record<string, unknown>)) {
    const kind = fields[field];
    if (kind === undefined) continue;
    if (ALWAYS_WRITTEN.has(field) || !isZero(kind, member)) out[field] = toWire(kind, member);
  }
  return JSON.stringify(out);
}

function isZero(kind: FieldKind, value: unknown): boolean {
  if (value === undefined || value === '' || value === 0 || value === false) return true;
  if (kind === 'strings' || kind === 'bytes') return (value as { length: number }).length === 0;
  return (kind === 'map' || kind === 'object') && Object.keys(value as object).length === 0;
}

function toWire(kind: FieldKind, value: unknown): unknown {
  if (kind === 'bytes') return (value as Buffer).toString('base64');
  if (kind !== 'address') return value;
  const { ip, port, zone } = value as UdpAddress;
  return { IP: ip, Port: port, Zone: zone };
}

/**
 * Reads the members of a message as Go's decoder does: unknown ones ignored, names matched without case,
 * null as zero. Throws Error with the member's name when one has another JSON type.
 */
export function decodeBody<Name extends MessageName>(name: Name, json: string): MessageOf<Name> {
  const parsed: unknown = JSON.parse(json);
  const body: Record<string, unknown> = zeroBody(name);
  if (parsed === null) return { name, body: body as MessageBody<Name> };
  if (typeof parsed !== 'object' || Array.isArray(parsed)) throw new Error('the members are no object');
  const fields: MessageSpec['fields'] = MESSAGES[name].fields;
  for (const [key, value] of Object.entries(parsed)) {
    const field = Object.hasOwn(fields, key) ? key : key.toLowerCase();
    const kind = Object.hasOwn(fields, field) ? fields[field] : undefined;
    if (kind !== undefined && value !== null) body[field] = fromWire(kind, value, field);
  }
  return { name, body: body as MessageBody<Name> };
}

function fromWire(kind: FieldKind, value: unknown, field: string): unknown {
  switch (kind) {
    case 'string':
      return wanted(typeof value === 'string', value, field);
    case 'int':
      return wanted(Number.isSafeInteger(value), value, field);
    case 'bool':
      return wanted(typeof value === 'boolean', value, field);
    case 'strings':
      return wanted(Array.isArray(value) && value.every((entry) => typeof entry === 'string'), value, field);
    case 'map':
      return stringMap(value, field);
    case 'object':
      return wanted(isObject(value), value, field);
    case 'bytes':
      return Buffer.from(String(wanted(typeof value === 'string', value, field)), 'base64');
    case 'address':
      return udpAddress(value, field);
  }
}

function wanted(isRight: boolean, value: unknown, field: string): unknown {
  if (!isRight) throw new Error(`member ${field} has the wrong type`);
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function stringMap(value: unknown, field: string): Record<string, string> {
  if (!isObject(value)) throw new Error(`member ${field} has the wrong type`);
  // Without a prototype, a key such as __proto__ is a key like any other.
  const out = Object.create(null) as Record<string, string>;
  for (const [key, entry] of Object.entries(value))
    out[key] = String(wanted(typeof entry === 'string', entry, field));
  return out;
}

function udpAddress(value: unknown, field: string): UdpAddress {
  if (!isObject(value)) throw new Error(`member ${field} has the wrong type`);
  const { IP: ip, Port: port, Zone: zone } = value;
  const isRight =
    typeof ip === 'string' && Number.isInteger(port) && (port as number) >= 0 && (port as number) <= 65535;
  if (!isRight) throw new Error(`member ${field} has the wrong type`);
  return { ip, port: port as number, zone: typeof zone === 'string' ? zone : '' };
}
