/** What secrets mean for connections: which key a Router is told, and when services are refused for want of one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { USAGE_ERROR } from '../lib/errors.ts';
import { resolveOptions } from '../lib/options.ts';
import { exportSettings, mappingDefinitions } from './desired.ts';
import { defineExports } from './export-definition.ts';
import { buildConfig } from './options.ts';
import { sidecarOptions } from './settings.ts';
import type { SidecarConfig } from './options.ts';
import { createSealing, sealState, sealTo } from './sealing.ts';

function configure(env: Record<string, string>, services?: unknown): SidecarConfig {
  return buildConfig(resolveOptions(sidecarOptions, { flags: {}, env }), {
    hostname: 'pod-1',
    dataDir: '/data',
    readFile: () => '',
    resolvConf: () => undefined,
    host: { hostKeys: () => [], macAddresses: () => [], machineId: () => undefined },
    perService: services === undefined ? undefined : { value: services, source: 'file' },
  });
}

const sealing = createSealing();

function apply(config: SidecarConfig) {
  return {
    mapped: sealing.mapped(
      mappingDefinitions(config, new Map(), () => []),
      config,
    ),
    exported: sealing.exported(
      defineExports(config.exported, 'pod-1', (key) => exportSettings(config, key)),
      config,
    ),
  };
}

const BOTH = { SIDECAR_MAPPED_SERVICES: 'web', SIDECAR_EXPORTED_SERVICES: 'web=8080' };

test('without a secret nothing is sealed, and Routers are told none', () => {
  const { mapped, exported } = apply(configure(BOTH));
  assert.deepEqual([mapped[0]?.secretKey, mapped[0]?.seal], ['', undefined]);
  assert.deepEqual([exported[0]?.secretKey, exported[0]?.seal], ['', undefined]);
});

test('with a secret both ends offer to seal with the same key, and frp programs with the secret still get in', () => {
  const { mapped, exported } = apply(configure({ ...BOTH, SIDECAR_SECRET_KEY: 'secret' }));
  assert.deepEqual([mapped[0]?.secretKey, exported[0]?.secretKey], ['secret', 'secret']);
  assert.deepEqual(mapped[0]?.seal, exported[0]?.seal);
  assert.equal(mapped[0]?.seal?.isRequired, false);
});

test('where sealing is required Routers are told a key from which the secret cannot be found', () => {
  const { mapped, exported } = apply(
    configure({ ...BOTH, SIDECAR_SECRET_KEY: 'secret', SIDECAR_REQUIRE_SEALED: 'true' }),
  );
  const told = mapped[0]?.secretKey ?? '';
  assert.match(told, /^[0-9a-f]{64}$/u);
  assert.equal(exported[0]?.secretKey, told);
  assert.notEqual(Buffer.from(mapped[0]?.seal?.psk ?? []).toString('hex'), told);
  assert.equal(exported[0]?.seal?.isRequired, true);
});

test('where sealing is required UDP ports that Routers report are not listened on', () => {
  const config = configure({ ...BOTH, SIDECAR_SECRET_KEY: 's', SIDECAR_REQUIRE_SEALED: 'true' });
  const known = mappingDefinitions(config, new Map(), (_key, protocol) => (protocol === 'UDP' ? [53] : [80]));
  const [mapped] = sealing.mapped(known, config);
  assert.deepEqual([mapped?.ports, mapped?.udpPorts], [[80], []]);
});

test('one service may differ from the rest', () => {
  const config = configure({ SIDECAR_MAPPED_SERVICES: 'web,db', SIDECAR_SECRET_KEY: 'secret' }, [
    { name: 'db', requireSealed: true, secretKey: 'own' },
  ]);
  assert.deepEqual(
    apply(config).mapped.map(({ key, seal }) => [key, seal?.isRequired]),
    [
      ['web.default', false],
      ['db.default', true],
    ],
  );
});

test('a service that must be sealed and cannot be is a usage error', () => {
  const required = { SIDECAR_REQUIRE_SEALED: 'true' };
  const secret = { ...required, SIDECAR_SECRET_KEY: 'secret' };
  for (const env of [
    { ...required, SIDECAR_MAPPED_SERVICES: 'web' },
    { ...required, SIDECAR_EXPORTED_SERVICES: 'web=8080' },
    { ...secret, SIDECAR_MAPPED_SERVICES: 'ntp:123/udp' },
    { ...secret, SIDECAR_EXPORTED_SERVICES: 'ntp=123/udp' },
  ])
    assert.throws(() => configure(env), { code: USAGE_ERROR });
  assert.throws(() => configure({}, [{ name: 'web', requireSealed: 'yes' }]), { code: USAGE_ERROR });
  configure({ ...secret, SIDECAR_MAPPED_SERVICES: 'ntp:123/udp' }, [{ name: 'ntp', requireSealed: false }]);
});

test('a connection is sealed to the port it asks for by name', () => {
  const seal = { service: 'web.default', psk: Buffer.alloc(32), isRequired: true };
  assert.equal(sealTo(seal, 'web.default:8080').seal?.port, 8080);
  assert.equal(sealTo(seal, 'web.default').seal?.port, 0);
  assert.deepEqual(sealTo(undefined, 'web.default:8080'), {});
});

test('the state of a seal is what the latest connection showed', () => {
  const seal = { service: 'web.default', psk: Buffer.alloc(32), isRequired: false };
  assert.equal(sealState(undefined, false), 'no secret');
  assert.equal(sealState(seal, undefined), null);
  assert.equal(sealState(seal, false), false);
  assert.equal(sealState(seal, true), true);
  assert.equal(sealState({ ...seal, isRequired: true }, undefined), true);
});
