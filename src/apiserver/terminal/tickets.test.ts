/** Tickets: good once, for one node, for a short while, and not without end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../../test/support/fake-clock.ts';
import type { Admission } from '../adapter/admission.ts';
import { TICKET_LIFETIME_MS, Tickets } from './tickets.ts';

const ADMISSION: Admission = {
  identity: { username: 'ops', groups: [], roles: ['admin'] },
  isVerified: true,
};

test('a ticket is good once, and only for its node', () => {
  const tickets = new Tickets(new FakeClock());
  const ticket = tickets.issue(ADMISSION, 'a');
  assert.match(ticket, /^[0-9a-f]{64}$/u);
  assert.equal(tickets.redeem(ticket, 'a'), ADMISSION);
  assert.equal(tickets.redeem(ticket, 'a'), undefined);
  const other = tickets.issue(ADMISSION, 'a');
  assert.equal(tickets.redeem(other, 'b'), undefined);
  assert.equal(tickets.redeem(other, 'a'), undefined, 'a wrong use spends it');
  assert.equal(tickets.redeem('', 'a'), undefined);
});

test('tickets expire, and are limited until they do', () => {
  const clock = new FakeClock();
  const tickets = new Tickets(clock);
  const ticket = tickets.issue(ADMISSION, 'a');
  clock.advance(TICKET_LIFETIME_MS - 1);
  const late = tickets.issue(ADMISSION, 'a');
  clock.advance(1);
  assert.equal(tickets.redeem(ticket, 'a'), undefined);
  assert.equal(tickets.redeem(late, 'a'), ADMISSION);
  for (let count = 0; count < 1024; count++) tickets.issue(ADMISSION, 'a');
  assert.throws(() => tickets.issue(ADMISSION, 'a'), { code: 'EDGE_ERR_API_TOO_MANY_REQUESTS' });
  clock.advance(TICKET_LIFETIME_MS);
  tickets.issue(ADMISSION, 'a');
});
