/** Tests of the grammar of mapped and exported services and of their files. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseExportsFile, parseImportsFile } from './services-file.ts';
import { mergeExported, mergeMapped, parseExported, parseMapped, serviceKey } from './services.ts';

const USAGE = { code: 'EDGE_ERR_USAGE' };
const mapped = (text: string) => parseMapped(text, 'mapped services', 'default');
const exported = (text: string) => parseExported(text, 'exported services', 'default');

test('a mapped service is a name with optional namespace, cluster, port and protocol', () => {
  const open = { cluster: undefined, ports: [], udpPorts: [], protocol: undefined };
  assert.deepEqual(mapped('mysql'), { name: 'mysql', namespace: 'default', ...open });
  assert.deepEqual(mapped('redis.cache'), {
    name: 'redis',
    namespace: 'cache',
    ...open,
  });
  assert.deepEqual(mapped('web.prod.east:8080/tcp'), {
    name: 'web',
    namespace: 'prod',
    cluster: 'east',
    ports: [8080],
    udpPorts: [],
    protocol: 'TCP',
  });
  assert.deepEqual(mapped('ntp:123/udp').udpPorts, [123]);
  assert.deepEqual(mapped('ntp:123/udp').ports, []);
  assert.deepEqual(mapped('ntp/UDP'), { name: 'ntp', namespace: 'default', ...open, protocol: 'UDP' });
  assert.equal(mapped('web.prod.east.example.org').cluster, 'east.example.org');
  assert.equal(mapped('db:3306/TCP').ports[0], 3306);
  assert.equal(serviceKey(mapped('redis.cache')), 'redis.cache');
});

test('a wrong mapped service is refused with its text', () => {
  for (const text of [
    '',
    '.',
    'a..b',
    'UPPER',
    '-a',
    'a-',
    'a_b',
    'a.b:',
    'a:0',
    'a:65536',
    'a:1:2',
    'a:x',
    'a/sctp',
    'a:80/',
    'x'.repeat(64),
  ]) {
    assert.throws(() => mapped(text), USAGE, text);
  }
  assert.throws(() => mapped('db:99999'), /"db:99999": port "99999" is not a number from 1 to 65535/u);
});

test('an exported service names its target, on loopback unless a host is given', () => {
  assert.deepEqual(exported('web=8080'), {
    name: 'web',
    namespace: 'default',
    port: 8080,
    protocol: 'TCP',
    target: { host: '127.0.0.1', port: 8080 },
  });
  assert.equal(exported('time=123/udp').protocol, 'UDP');
  assert.deepEqual(exported('db.prod=127.0.0.1:3306').target, { host: '127.0.0.1', port: 3306 });
  assert.deepEqual(exported('db.prod=db.example.org:3306').target, { host: 'db.example.org', port: 3306 });
  assert.deepEqual(exported('v6=[::1]:80/tcp').target, { host: '::1', port: 80 });
});

test('a wrong exported service is refused', () => {
  for (const text of [
    'web',
    '=80',
    'web=',
    'web=0',
    'web=host',
    'web=host:',
    'a.b.c=80',
    'web=1.2.3.4:0',
    'Web=80',
    'web=::1:80',
  ]) {
    assert.throws(() => exported(text), USAGE, text);
  }
});

test('entries of one mapped service are joined, and contradictions refused', () => {
  const [service, ...rest] = mergeMapped([
    mapped('web:81'),
    mapped('web:80'),
    mapped('web.default.east'),
    mapped('web:80'),
    mapped('web:53/udp'),
  ]);
  assert.deepEqual(service, {
    name: 'web',
    namespace: 'default',
    cluster: 'east',
    ports: [80, 81],
    udpPorts: [53],
    protocol: undefined,
  });
  assert.equal(rest.length, 0);
  assert.throws(() => mergeMapped([mapped('a.b.east'), mapped('a.b.west')]), USAGE);
});

test('names of ports are kept when entries are joined', () => {
  const named = parseImportsFile(FILE, 'imports.yaml', 'default');
  const [service] = mergeMapped([mapped('mysql.db:3300'), ...named, mapped('mysql.db:1')]);
  assert.deepEqual(
    service?.portNames?.map(({ name }) => name),
    ['main', 'admin', 'gossip'],
  );
  const wrong = 'services: [{name: web, ports: [{name: Not_A_Label, port: 80}]}]';
  assert.throws(() => parseImportsFile(wrong, 'imports.yaml', 'default'), USAGE);
});

test('an exported port has one target', () => {
  assert.equal(mergeExported([exported('web=80'), exported('web=80'), exported('web=81')]).length, 2);
  assert.equal(mergeExported([exported('dns=53'), exported('dns=127.0.0.2:53/udp')]).length, 2);
  assert.throws(() => mergeExported([exported('web=127.0.0.1:80'), exported('web=127.0.0.2:80')]), USAGE);
});

const FILE = `
services:
- name: mysql
  namespace: db
  cluster: east
  ports:
  - {name: main, port: 3306, protocol: TCP, targetPort: 13306}
  - {name: admin, port: 3300}
  - {name: gossip, port: 7946, protocol: UDP}
- name: web
  ports: [{targetPort: 8080}]
`;

test('an imports file gives services with the ports that consumers use', () => {
  assert.deepEqual(parseImportsFile(FILE, 'imports.yaml', 'default'), [
    {
      name: 'mysql',
      namespace: 'db',
      cluster: 'east',
      ports: [3300, 3306],
      udpPorts: [7946],
      portNames: [
        { name: 'main', port: 3306, protocol: 'TCP' },
        { name: 'admin', port: 3300, protocol: 'TCP' },
        { name: 'gossip', port: 7946, protocol: 'UDP' },
      ],
      protocol: undefined,
    },
    {
      name: 'web',
      namespace: 'default',
      cluster: undefined,
      ports: [8080],
      udpPorts: [],
      protocol: undefined,
    },
  ]);
  assert.deepEqual(parseImportsFile('', 'imports.yaml', 'default'), []);
  assert.deepEqual(parseImportsFile('services: []', 'imports.yaml', 'default'), []);
});

test('an exports file sends connections to the target port', () => {
  assert.deepEqual(parseExportsFile(FILE, 'exports.yaml', 'default')[0], {
    name: 'mysql',
    namespace: 'db',
    port: 3306,
    protocol: 'TCP',
    target: { host: '127.0.0.1', port: 13_306 },
  });
  assert.equal(parseExportsFile(FILE, 'exports.yaml', 'default')[2]?.protocol, 'UDP');
});

test('an exported port may ask for a PROXY header', () => {
  const parse = (port: string) => parseExportsFile(`services: [{name: a, ports: [${port}]}]`, 'f', 'default');
  assert.equal(parse('{port: 80, proxyProtocol: v2}')[0]?.proxyProtocol, 'v2');
  assert.throws(
    () => parse('{port: 80, proxyProtocol: v3}'),
    /ports\[0\]: proxyProtocol "v3" is not v1 or v2/u,
  );
  assert.throws(
    () => parse('{port: 80, protocol: UDP, proxyProtocol: v1}'),
    /proxyProtocol needs protocol TCP/u,
  );
});

test('a wrong file names its entry', () => {
  const entry = /f: services\[0\]/u;
  assert.throws(() => parseImportsFile('services: [{name: A}]', 'f', 'default'), entry);
  assert.throws(() => parseImportsFile('services: [{}]', 'f', 'default'), entry);
  assert.throws(() => parseImportsFile('services: [mysql]', 'f', 'default'), entry);
  assert.throws(
    () => parseImportsFile('services: [{name: a, ports: [{port: 0}]}]', 'f', 'default'),
    /ports\[0\]: port 0/u,
  );
  assert.throws(
    () => parseImportsFile('services: [{name: a, ports: [{port: 53, protocol: SCTP}]}]', 'f', 'default'),
    /protocol "SCTP"/u,
  );
  assert.throws(() => parseImportsFile('services: {}', 'f', 'default'), /wanted a list/u);
  assert.throws(() => parseImportsFile('[1]', 'f', 'default'), /wanted a map/u);
  assert.throws(() => parseImportsFile('a: [', 'f', 'default'), { code: 'EDGE_ERR_YAML_PARSE' });
  assert.throws(() => parseExportsFile('services: [{name: a}]', 'f', 'default'), /needs ports/u);
});
