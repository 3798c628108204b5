/**
 * Throws damaged and made-up bytes at the readers of OpenSSH keys and certificates: either something is read that is
 * written back the same, or a SshFormatError. FUZZ_SEED repeats a run, FUZZ_MS sets its time (3000).
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import golden from '../testdata/ssh-certificates.json' with { type: 'json' };
import { certificateType, decodeCertificate } from '../../src/apiserver/pki/ssh-certificate.ts';
import { parsePublicKey } from '../../src/apiserver/pki/ssh-public-key.ts';
import { SshFormatError, sshString } from '../../src/apiserver/pki/ssh-wire.ts';
import { below, fuzz, pick } from '../support/fuzz.ts';

const LINES = golden.certificates.flatMap(({ key, certificate }) => [key, certificate]);

function damaged(blob: Buffer): Buffer {
  const changed = Buffer.from(blob);
  for (let count = below(4); count >= 0; count--) {
    const at = below(changed.length);
    changed[at] = pick([0, 1, 4, 0x7f, 0xff, below(256)]);
  }
  return pick([changed, changed.subarray(0, below(changed.length)), Buffer.concat([changed, changed])]);
}

function quietly(read: () => void): void {
  try {
    read();
  } catch (err) {
    assert.ok(err instanceof SshFormatError, String(err));
  }
}

test('keys and certificates', async () => {
  await fuzz('ssh certificates', () => {
    const [type = '', base64 = ''] = pick(LINES).split(' ');
    const blob = damaged(Buffer.from(base64, 'base64'));
    quietly(() => {
      const { key, signed } = decodeCertificate(blob);
      assert.ok(blob.subarray(0, signed.length).equals(signed));
      assert.ok(signed.subarray(4).toString('latin1').startsWith(certificateType(key.type)));
    });
    quietly(() => {
      const key = parsePublicKey(`${type} ${blob.toString('base64')}`);
      assert.ok(Buffer.concat([sshString(key.type), key.fields]).equals(blob));
    });
  });
});
