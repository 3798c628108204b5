/** Recordings against lines written by hand from the format's specification; limits, split characters, damaged files. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { CAST_ERROR, castSize, CastWriter, parseCast } from './asciicast.ts';

function record(maxBytes = 10_000) {
  const clock = new FakeClock();
  const lines: string[] = [];
  const writer = new CastWriter(
    { width: 80, height: 24, timestamp: 1_504_467_315, title: 'node-7' },
    { clock, maxBytes, write: (text) => lines.push(text) },
  );
  return { clock, lines, writer, text: () => lines.join('') };
}

test('a session becomes a header and one line an event', () => {
  const { clock, writer, text } = record();
  clock.advance(248.848);
  writer.output(Buffer.from('\u001B[1;31mHello\r\n'));
  clock.advance(1000);
  writer.resize(100, 50);
  writer.end();
  assert.equal(
    text(),
    [
      '{"version":2,"width":80,"height":24,"timestamp":1504467315,"title":"node-7"}',
      '[0.248848,"o","\\u001b[1;31mHello\\r\\n"]',
      '[1.248848,"r","100x50"]',
      '',
    ].join('\n'),
  );
  assert.equal(writer.bytes, Buffer.byteLength(text()));
});

test('a character that comes in two parts is written whole, and half a one at the end as a mark', () => {
  const { writer, text } = record();
  const bytes = Buffer.from('ä€😀');
  for (const byte of bytes) writer.output(Buffer.of(byte));
  writer.output(Buffer.of(0xe2, 0x82));
  writer.end();
  writer.output(Buffer.from('late'));
  const { events } = parseCast(text());
  assert.equal(events.map(({ data }) => data).join(''), 'ä€😀\uFFFD');
});

test('a recording never grows past its limit, and says where it ends', () => {
  const { writer, text } = record(1000);
  for (let at = 0; at < 100; at++) writer.output(Buffer.from('0123456789€'));
  writer.resize(1, 1);
  writer.end();
  assert.ok(writer.isTruncated);
  assert.ok(Buffer.byteLength(text()) <= 1000);
  const { events } = parseCast(text());
  assert.deepEqual(
    { code: events.at(-1)?.code, data: events.at(-1)?.data },
    { code: 'm', data: 'the recording ends here: it is limited to 1000 bytes' },
  );
  assert.equal(events.at(-2)?.code, 'o');
});

test('recordings of other programs are read: more header fields, other events, empty lines, time that goes back', () => {
  const { header, events } = parseCast(
    '{"version": 2, "width": 80, "height": 24, "env": {"TERM": "xterm"}, "theme": {}, "idle_time_limit": 1}\n' +
      '[1.5, "o", "a"]\n\n[1.0, "i", "b"]\n[2, "m", ""]\n',
  );
  assert.deepEqual(header, { width: 80, height: 24 });
  assert.deepEqual(events, [
    { time: 1.5, code: 'o', data: 'a' },
    { time: 1.5, code: 'i', data: 'b' },
    { time: 2, code: 'm', data: '' },
  ]);
});

test('a file that was cut while it was written is read up to there, at every byte', () => {
  const { writer, text, clock } = record();
  for (const part of ['one', 'zwei €', 'three']) {
    clock.advance(10);
    writer.output(Buffer.from(part));
  }
  const whole = text();
  const headerEnd = whole.indexOf('\n');
  for (let length = headerEnd; length <= whole.length; length++) {
    const { events } = parseCast(whole.slice(0, length));
    assert.ok(events.length <= 3);
    assert.deepEqual(
      events.map(({ data }) => data),
      ['one', 'zwei €', 'three'].slice(0, events.length),
    );
  }
});

test('what is no recording is refused with its line', () => {
  const refused = (text: string, line: number): void =>
    assert.throws(
      () => parseCast(text),
      (err: { code?: string; message: string }) =>
        err.code === CAST_ERROR && err.message.startsWith(`recording: line ${line}: `),
      text,
    );
  const header = '{"version":2,"width":80,"height":24}\n';
  refused('', 1);
  refused('null\n', 1);
  refused('{"version":1,"width":80,"height":24}\n', 1);
  refused('{"version":2,"width":0,"height":24}\n', 1);
  refused('{"version":2,"width":80,"height":1e9}\n', 1);
  refused(`${header}[1,"o"]\n`, 2);
  refused(`${header}[-1,"o","x"]\n`, 2);
  refused(`${header}[1,"o","x"]\n{\n[2,"o","y"]\n`, 3);
});

test('sizes are two positive numbers', () => {
  assert.deepEqual(castSize('100x50'), { cols: 100, rows: 50 });
  for (const text of ['0x1', '1x', 'x', '100x50x', '-1x5', '99999x1', ''])
    assert.equal(castSize(text), undefined);
});
