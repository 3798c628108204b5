/** Tests of what is taken for a Router. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isRouter } from './router-shape.ts';
import { selectRouters } from './routers.ts';

const metadata = { name: 'a' };
const spec = { frps: { bindPort: 7000 } };

test('what is taken for a Router can be read, and nothing else is', () => {
  const good = [
    { metadata, spec },
    { metadata: { ...metadata, annotations: {} }, spec: { ...spec, advertisedServices: [] }, status: {} },
    {
      metadata,
      spec: { frps: { bindPort: 1, transport: {} } },
      status: { addresses: [{ type: 'Moon', address: 'x' }], activeServices: [{ providers: [{}] }, {}] },
    },
  ];
  for (const value of good) {
    assert.ok(isRouter(value), JSON.stringify(value));
    assert.equal(selectRouters([value], { node: 'a', only: [] }).length, 1);
  }
  const bad: unknown[] = [
    null,
    [],
    'a',
    { metadata },
    { spec },
    { metadata: {}, spec },
    { metadata: { name: 'a', annotations: 1 }, spec },
    { metadata, spec: { frps: null } },
    { metadata, spec: { frps: { bindPort: '7000' } } },
    { metadata, spec: { frps: { bindPort: 1, transport: 'x' } } },
    { metadata, spec: { ...spec, advertisedServices: {} } },
    { metadata, spec: { ...spec, advertisedServices: [null] } },
    ...[
      { addresses: 1 },
      { addresses: [null] },
      { addresses: [{ type: 1, address: 'x' }] },
      { conditions: {} },
      { conditions: [null] },
      { activeServices: [7] },
      { activeServices: [{ providers: 1 }] },
      { activeServices: [{ providers: [null] }] },
    ].map((status) => ({ metadata, spec, status })),
    { metadata, spec, status: null },
  ];
  for (const value of bad) assert.equal(isRouter(value), false, JSON.stringify(value));
});
