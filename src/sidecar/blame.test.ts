/** Tests of whose fault a failure is: all the ways in which a connection ends before it is open. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TunnelError } from '../tunnel/errors.ts';
import { SealError } from '../tunnel/seal/errors.ts';
import { YamuxError } from '../tunnel/yamux/errors.ts';
import { isProvidersFault } from './blame.ts';

const handshakeCut = (cause?: Error): Error =>
  new SealError('closed', 'the stream closed', cause === undefined ? {} : { cause });

test('what ends one stream is the fault of its provider', () => {
  const failures = [
    undefined,
    new TunnelError('targetRefused', 'refused'),
    new TunnelError('unconfirmed', 'ended'),
    new TunnelError('protocol', 'neither accepts nor refuses'),
    new YamuxError('reset', 'peer reset stream 5'),
    new SealError('secret', 'another secret'),
    new SealError('refused', 'said no'),
    handshakeCut(),
    handshakeCut(new YamuxError('reset', 'peer reset stream 5')),
  ];
  for (const failure of failures) assert.equal(isProvidersFault(failure), true, failure?.message);
});

test('what ends all streams of a Router is not', () => {
  const lost = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
  const endless = new Error('its own cause');
  endless.cause = endless;
  const failures = [
    lost,
    endless,
    new YamuxError('closed', 'connection closed'),
    new YamuxError('timeout', 'peer is silent'),
    new TunnelError('closed', 'client stopped'),
    new TunnelError('visitorRefused', 'no provider'),
    handshakeCut(lost),
    handshakeCut(new YamuxError('timeout', 'peer is silent')),
  ];
  for (const failure of failures) assert.equal(isProvidersFault(failure), false, failure.message);
});
