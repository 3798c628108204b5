/** OpenSSH certificates against ones that ssh-keygen made: the same bytes out, the same facts back, damage refused. */
import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { test } from 'node:test';
import golden from '../../../test/testdata/ssh-certificates.json' with { type: 'json' };
import { certificateType, decodeCertificate, encodeCertificate } from './ssh-certificate.ts';
import type { UserCertificate } from './ssh-certificate.ts';
import { parsePublicKey } from './ssh-public-key.ts';
import { SshFormatError, SshReader, sshString } from './ssh-wire.ts';

const blobOf = (line: string): Buffer => Buffer.from(line.split(' ')[1] ?? '', 'base64');
const AUTHORITY = parsePublicKey(golden.authority);
/** A raw Ed25519 key as Node takes it (RFC 8410). */
const publicKey = (raw: Buffer) =>
  createPublicKey({
    key: Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw]),
    format: 'der',
    type: 'spki',
  });

test('certificates of every kind of key come out as ssh-keygen made them', () => {
  assert.equal(golden.certificates.length, 4);
  for (const { key, certificate } of golden.certificates) {
    const wanted = blobOf(certificate);
    const read = decodeCertificate(wanted);
    assert.equal(certificateType(read.key.type), certificate.split(' ')[0]);
    assert.deepEqual(read.key, parsePublicKey(key));
    assert.deepEqual(
      Buffer.concat([sshString('ssh-ed25519'), sshString(read.authority)]),
      blobOf(golden.authority),
    );
    assert.ok(verify(null, read.signed, publicKey(read.authority), read.signature));
    const nonce = Buffer.from(
      new SshReader(wanted.subarray(4 + (certificate.split(' ')[0] ?? '').length)).string(),
    );
    const again = encodeCertificate(
      read,
      {
        publicKey: read.authority,
        sign(data) {
          assert.deepEqual(data, read.signed);
          return read.signature;
        },
      },
      nonce,
    );
    assert.deepEqual(again, wanted);
  }
});

test('what a certificate says is read from it', () => {
  const [first, , , last] = golden.certificates;
  const { key, authority, signed, signature, ...facts } = decodeCertificate(blobOf(first?.certificate ?? ''));
  assert.ok(key.fields.length > 0 && signed.length > 0 && signature.length === 64);
  assert.deepEqual(sshString(authority), AUTHORITY.fields);
  assert.deepEqual(facts, {
    serial: 42n,
    keyId: 'edge:admin:42',
    principals: ['root', 'admin'],
    validAfter: new Date('2026-01-01T00:00:00Z'),
    validBefore: new Date('2026-01-01T00:15:00Z'),
    criticalOptions: { 'force-command': 'uptime -p', 'source-address': '192.0.2.0/24' },
    extensions: ['permit-port-forwarding', 'permit-pty'],
  });
  const sk = decodeCertificate(blobOf(last?.certificate ?? ''));
  assert.equal(sk.serial, 2n ** 64n - 1n);
  assert.equal(sk.key.type, 'sk-ssh-ed25519@openssh.com');
});

test('options and extensions are written in the order of their names', () => {
  const { publicKey: own, privateKey } = generateKeyPairSync('ed25519');
  const raw = own.export({ type: 'spki', format: 'der' }).subarray(-32);
  const certificate: UserCertificate = {
    key: parsePublicKey(golden.authority),
    serial: 1n,
    keyId: 'x',
    principals: [],
    validAfter: new Date(1000),
    validBefore: new Date(2000),
    criticalOptions: { 'source-address': '192.0.2.1', 'force-command': 'true' },
    extensions: ['permit-pty', 'permit-X11-forwarding', 'permit-agent-forwarding'],
  };
  const signer = { publicKey: raw, sign: (data: Buffer) => sign(null, data, privateKey) };
  const read = decodeCertificate(encodeCertificate(certificate, signer, Buffer.alloc(32)));
  assert.deepEqual(Object.keys(read.criticalOptions), ['force-command', 'source-address']);
  assert.deepEqual(read.extensions, ['permit-X11-forwarding', 'permit-agent-forwarding', 'permit-pty']);
  assert.ok(verify(null, read.signed, own, read.signature));
  assert.throws(() => encodeCertificate(certificate, signer, Buffer.alloc(31)), SshFormatError);
});

test('every truncation and bytes behind the end are refused', () => {
  for (const { certificate } of golden.certificates) {
    const blob = blobOf(certificate);
    for (let length = 0; length < blob.length; length++)
      assert.throws(() => decodeCertificate(blob.subarray(0, length)), SshFormatError, `${length} bytes`);
    assert.throws(() => decodeCertificate(Buffer.concat([blob, Buffer.of(0)])), SshFormatError);
  }
  assert.throws(() => decodeCertificate(blobOf(golden.authority)), SshFormatError);
});

test('public keys are taken with or without a comment, and what is none is refused', () => {
  for (const { key } of golden.certificates) {
    assert.equal(parsePublicKey(`  ${key} somebody@example.org\n`).type, key.split(' ')[0]);
    const [type = '', base64 = ''] = key.split(' ');
    const blob = Buffer.from(base64, 'base64');
    for (let length = 0; length < blob.length; length++) {
      const line = `${type} ${blob.subarray(0, length).toString('base64')}`;
      assert.throws(() => parsePublicKey(line), SshFormatError, line);
    }
  }
  const ed25519 = golden.certificates[0]?.key.split(' ')[1] ?? '';
  for (const line of [
    '',
    'ssh-ed25519',
    'ssh-ed25519 !!!',
    `ssh-rsa ${ed25519}`,
    `ssh-dss ${ed25519}`,
    `constructor ${ed25519}`,
    `command="x" ssh-ed25519 ${ed25519}`,
    `ssh-rsa ${Buffer.concat([sshString('ssh-rsa'), sshString(Buffer.of(3)), sshString(Buffer.alloc(128, 255))]).toString('base64')}`,
    golden.certificates[0]?.certificate ?? '',
  ]) {
    assert.throws(() => parsePublicKey(line), SshFormatError, line);
  }
});
