/** The owned names: which forms answer, what exists without records, what fails at once, and what is left to others. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { decode, encode } from 'dns-packet';
import { encodeReply, parseQuery, TCP_MESSAGE_BYTES } from './wire.ts';
import { createZone, zoneEntryProblem } from './zone.ts';
import type { DecodedPacket, RecordType } from 'dns-packet';
import type { Query } from './wire.ts';
import type { Zone, ZoneEntry } from './zone.ts';

const MYSQL: ZoneEntry = {
  name: 'mysql',
  namespace: 'default',
  address: '127.0.66.1',
  ports: [
    { name: 'sql', port: 3306, protocol: 'tcp' },
    { name: 'x', port: 33_060, protocol: 'tcp' },
  ],
  isReady: true,
};
const REDIS: ZoneEntry = {
  ...MYSQL,
  name: 'redis',
  namespace: 'cache',
  address: '127.0.66.2',
  aliases: ['redis'],
};
const SLOW: ZoneEntry = { ...MYSQL, name: 'slow', address: '127.0.66.3', isReady: false };

function zoneOf(...entries: ZoneEntry[]): Zone {
  const zone = createZone({ clusterDomain: 'cluster.local', namespace: 'default', ttlSeconds: 5 });
  zone.replace(entries);
  return zone;
}

function queryFor(name: string, type: string): Query {
  const bytes = encode({
    type: 'query',
    id: 1,
    flags: 0x100,
    questions: [{ name, type: type as RecordType }],
  });
  const query = parseQuery(bytes);
  assert.ok(typeof query === 'object');
  return query;
}

const zone = zoneOf(MYSQL, REDIS, SLOW);

/** The decoded answer, or undefined when the zone passes the name on. */
function ask(name: string, type = 'A', from: Zone = zone): DecodedPacket | undefined {
  const query = queryFor(name, type);
  const reply = from.lookup(query);
  return reply === undefined ? undefined : decode(encodeReply(query, reply, TCP_MESSAGE_BYTES));
}

function rcodeOf(name: string, type = 'A'): string | undefined {
  return (ask(name, type) as { rcode?: string } | undefined)?.rcode;
}

function addressOf(name: string): unknown {
  const answer = ask(name)?.answers?.[0];
  return answer?.type === 'A' ? answer.data : undefined;
}

describe('addresses', () => {
  for (const name of ['mysql', 'mysql.default', 'mysql.default.svc', 'mysql.default.svc.cluster.local']) {
    test(`${name} has the service's address`, () => assert.equal(addressOf(name), '127.0.66.1'));
  }

  test('a service of another namespace has no bare name unless it is an alias', () => {
    assert.equal(addressOf('redis'), '127.0.66.2');
    const { aliases: _, ...plain } = REDIS;
    assert.equal(ask('redis', 'A', zoneOf(plain)), undefined);
    assert.equal(addressOf('redis.cache'), '127.0.66.2');
  });

  test('an alias never hides the proper name of another service', () => {
    const answer = ask('mysql', 'A', zoneOf({ ...REDIS, aliases: ['mysql'] }, MYSQL))?.answers?.[0];
    assert.equal(answer?.type === 'A' ? answer.data : '', '127.0.66.1');
  });

  test('the record keeps the spelling of the question and the TTL of the zone', () => {
    const answer = ask('MySQL.deFAULT.svc')?.answers?.[0];
    assert.deepEqual(answer?.type === 'A' ? [answer.name, answer.ttl] : [], ['MySQL.deFAULT.svc', 5]);
  });

  test('a service that is not ready is SERVFAIL in every form, not a wrong address', () => {
    for (const name of ['slow', 'slow.default.svc.cluster.local', '_sql._tcp.slow']) {
      assert.equal(rcodeOf(name), 'SERVFAIL', name);
    }
  });
});

describe('other types', () => {
  for (const type of ['AAAA', 'MX', 'TXT', 'NS', 'SOA', 'CNAME']) {
    test(`${type} is NODATA with an SOA`, () => {
      const answer = ask('mysql.default.svc.cluster.local', type);
      assert.equal(rcodeOf('mysql', type), 'NOERROR');
      assert.equal(answer?.answers?.length, 0);
      assert.deepEqual(
        answer?.authorities?.map((record) => [record.type, record.name]),
        [['SOA', 'cluster.local']],
      );
    });
  }

  test('the SOA of a short name belongs to that name, never to its parent', () => {
    assert.equal(ask('mysql.default', 'AAAA')?.authorities?.[0]?.name, 'mysql.default');
  });

  test('ANY is answered with one HINFO record', () => {
    const answers = ask('mysql', 'ANY')?.answers;
    assert.deepEqual(
      answers?.map((record) => record.type),
      ['HINFO'],
    );
  });

  test('SRV names every port with its target and address', () => {
    const answer = ask('mysql.default.svc.cluster.local', 'SRV');
    const ports = answer?.answers?.map((record) =>
      record.type === 'SRV' ? [record.data.port, record.data.target] : [],
    );
    const target = 'mysql.default.svc.cluster.local';
    assert.deepEqual(ports, [
      [3306, target],
      [33_060, target],
    ]);
    const extra = answer?.additionals?.[0];
    assert.deepEqual(extra?.type === 'A' ? [extra.name, extra.data] : [], [target, '127.0.66.1']);
  });

  for (const name of [
    '_sql._tcp.mysql.default.svc.cluster.local',
    '_3306._tcp.mysql',
    '_SQL._TCP.mysql.default.svc',
  ]) {
    test(`${name} has one SRV record`, () => {
      const answers = ask(name, 'SRV')?.answers ?? [];
      assert.deepEqual(
        answers.map((record) => (record.type === 'SRV' ? record.data.port : 0)),
        [3306],
      );
    });
  }

  test('SRV names without a port do not exist; their parents do', () => {
    for (const name of [
      '_sql._udp.mysql',
      '_none._tcp.mysql',
      '_undefined._tcp.mysql',
      '_udp.mysql.default.svc',
    ]) {
      assert.equal(rcodeOf(name, 'SRV'), 'NXDOMAIN', name);
    }
    assert.equal(rcodeOf('_tcp.mysql.default.svc.cluster.local'), 'NOERROR');
    assert.equal(rcodeOf('_sql._tcp.mysql'), 'NOERROR');
  });

  test('PTR leads from the address to the full name', () => {
    const answer = ask('1.66.0.127.in-addr.arpa', 'PTR')?.answers?.[0];
    assert.equal(answer?.type === 'PTR' ? answer.data : '', 'mysql.default.svc.cluster.local');
    assert.equal(rcodeOf('1.66.0.127.in-addr.arpa', 'A'), 'NOERROR');
    assert.equal(rcodeOf('9.66.0.127.in-addr.arpa', 'PTR'), 'NXDOMAIN', 'loopback never leaves the machine');
  });
});

describe('names that fail at once', () => {
  const names = [
    'pod-0.mysql.default.svc.cluster.local',
    'a.b.mysql.default.svc',
    'mysql.default.svc.cluster.local.default.svc.cluster.local',
    'mysql.default.svc.cluster.local.svc.cluster.local',
    'mysql.default.svc.cluster.local.cluster.local',
    'mysql.default.svc.default.svc.cluster.local',
    'mysql.default.svc.svc.cluster.local',
    'mysql.default.svc.cluster.local.example.org',
    'mysql.default.default.svc.cluster.local',
    'redis.cache.svc.default.svc.cluster.local',
  ];
  for (const name of names) {
    test(name, () => {
      assert.equal(rcodeOf(name), 'NXDOMAIN');
      assert.equal(ask(name)?.authorities?.[0]?.type, 'SOA');
    });
  }
});

describe('names that are left to the upstreams', () => {
  const names = [
    'example.org',
    'kubernetes.default.svc.cluster.local',
    'default.svc.cluster.local',
    'cluster.local',
    'mysql.svc.cluster.local',
    'mysql.other.svc.cluster.local',
    'www.mysql',
    'api.mysql.default',
    'mysql.default.svc.clusterset.local',
    'mysql.example.org',
    'notmysql.default.svc.cluster.locale',
    '_sql._tcp.example.org',
    '_tcp',
    '.',
    '1.2.0.192.in-addr.arpa',
  ];
  for (const name of names) test(name, () => assert.equal(ask(name), undefined));
});

test('without upstreams names inside the cluster domain are NXDOMAIN, others REFUSED', () => {
  const outside = (name: string): number => zone.outside(queryFor(name, 'A')).rcode;
  assert.equal(outside('kubernetes.default.svc.cluster.local'), 3);
  assert.equal(outside('example.org'), 5);
  assert.equal(outside('notcluster.local'), 5);
  assert.equal(outside('.'), 5);
});

test('without upstreams the names above a mapped one exist, so that their children are not denied with them', () => {
  for (const name of ['default.svc.cluster.local', 'svc.cluster.local', 'cluster.local']) {
    assert.equal(zone.outside(queryFor(name, 'A')).rcode, 0, name);
  }
  assert.equal(zone.outside(queryFor('other.svc.cluster.local', 'A')).rcode, 3);
});

test('replacing entries changes answers at once and raises the serial', () => {
  const changing = zoneOf(MYSQL);
  const serial = (): unknown => {
    const soa = ask('mysql', 'AAAA', changing)?.authorities?.[0];
    return soa?.type === 'SOA' ? soa.data.serial : undefined;
  };
  assert.equal(serial(), 1);
  changing.replace([{ ...MYSQL, address: '127.0.66.9' }]);
  assert.equal(serial(), 2);
  const answer = ask('mysql', 'A', changing)?.answers?.[0];
  assert.equal(answer?.type === 'A' ? answer.data : '', '127.0.66.9');
  changing.replace([]);
  assert.equal(ask('mysql', 'A', changing), undefined);
  assert.equal(changing.size, 0);
});

test('a wrong entry is refused and the former entries stay', () => {
  const wrong: [Partial<ZoneEntry>, RegExp][] = [
    [{ name: 'a.b' }, /not a DNS label/u],
    [{ name: '' }, /not a DNS label/u],
    [{ namespace: 'x'.repeat(64) }, /not a DNS label/u],
    [{ address: '::1' }, /not an IPv4/u],
    [{ ports: [{ port: 0, protocol: 'tcp' }] }, /port 0/u],
    [{ aliases: ['a..b'] }, /not a domain name/u],
  ];
  const kept = zoneOf(MYSQL);
  for (const [change, words] of wrong) {
    const entry = { ...REDIS, ...change };
    assert.match(zoneEntryProblem(entry) ?? '', words);
    assert.throws(() => kept.replace([entry]), { code: 'EDGE_ERR_DNS_ENTRY' });
  }
  assert.equal(zoneEntryProblem(MYSQL), undefined);
  assert.ok(ask('mysql', 'A', kept));
});

test('a full name that DNS cannot carry is refused', () => {
  const domain = Array.from({ length: 3 }, () => 'd'.repeat(60)).join('.');
  const long = createZone({ clusterDomain: domain, namespace: 'default', ttlSeconds: 5 });
  assert.throws(() => long.replace([{ ...MYSQL, name: 'm'.repeat(63) }]), { code: 'EDGE_ERR_DNS_ENTRY' });
  long.replace([MYSQL]);
  assert.equal(long.size, 1);
});

test('a cluster domain that is no domain name is refused', () => {
  const config = { clusterDomain: 'a..b', namespace: 'default', ttlSeconds: 5 };
  assert.throws(() => createZone(config), { code: 'EDGE_ERR_DNS_ENTRY' });
});

test('ten thousand names cost no more a lookup than ten', () => {
  const many = (count: number): Zone =>
    zoneOf(
      ...Array.from({ length: count }, (_, index) => ({
        ...MYSQL,
        name: `s${index}`,
        address: `127.${1 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`,
      })),
    );
  const cost = (from: Zone): number => {
    const queries = ['s7', 's7.default.svc.cluster.local', 'x.s7.default.svc', 'example.org'].map((name) =>
      queryFor(name, 'A'),
    );
    const started = process.cpuUsage().user;
    for (let round = 0; round < 5000; round += 1) for (const query of queries) from.lookup(query);
    return process.cpuUsage().user - started;
  };
  const small = many(10);
  const large = many(10_000);
  cost(small); // compiles
  // A scan would be a thousand times slower; the margin is for a busy machine.
  assert.ok(cost(large) < 20 * cost(small) + 20_000);
});
