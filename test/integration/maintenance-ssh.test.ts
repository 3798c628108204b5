/** OpenSSH through the tunnel: a real sshd behind `edge sidecar --maintenance`, a real ssh with `edge ctl ssh-proxy`. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { NODE_MAINTENANCES } from '../../src/api/edge.ts';
import type { NodeMaintenance } from '../../src/api/gen/types.ts';
import { edgePath } from '../support/edge-process.ts';
import { freePorts } from '../support/ports.ts';
import { runProcess, startProcess } from '../support/processes.ts';
import { requireProgram } from '../support/programs.ts';
import { startNode } from '../support/sidecar-world.ts';
import { tempDir } from '../support/temp-dir.ts';
import { waitFor } from '../support/wait.ts';

for (const requireSealed of ['false', 'true']) {
  test(`ssh runs a command on a node and refuses a changed host key (sealing required: ${requireSealed})`, async (t) => {
    const sshd = requireProgram(t, 'sshd');
    const ssh = requireProgram(t, 'ssh');
    const keygen = requireProgram(t, 'ssh-keygen');
    if (sshd === undefined || ssh === undefined || keygen === undefined) return;
    const dir = tempDir(t);
    const hostKey = join(dir, 'ssh_host_ed25519_key');
    const userKey = join(dir, 'id');
    for (const file of [hostKey, userKey]) {
      const made = await runProcess(keygen, ['-q', '-t', 'ed25519', '-N', '', '-f', file]);
      assert.equal(made.status, 0, made.stderr);
    }
    const [port = 0] = await freePorts(1);
    const config = join(dir, 'sshd_config');
    writeFileSync(
      config,
      [
        `Port ${port}`,
        'ListenAddress 127.0.0.1',
        `HostKey ${hostKey}`,
        `AuthorizedKeysFile ${userKey}.pub`,
        'StrictModes no',
        'UsePAM no',
        'PidFile none',
        '',
      ].join('\n'),
    );
    if (userInfo().uid === 0) mkdirSync('/run/sshd', { recursive: true }); // sshd wants it, the service unit makes it
    const server = startProcess(t, sshd, ['-D', '-e', '-f', config], { name: 'sshd' });
    await server.waitForLine(/Server listening/u);

    const node = await startNode(t);
    await node.createRouter('node-1');
    node.startRouter('node-1');
    const secret = { SIDECAR_SECRET_KEY: 's3cret', SIDECAR_REQUIRE_SEALED: requireSealed };
    await node.startSidecar('agent', {
      ...secret,
      EDGE_MAINTENANCE: 'true',
      EDGE_MAINTENANCE_UNIQUE_ID: 'node7',
      EDGE_MAINTENANCE_HOST_KEY_DIR: dir,
      EDGE_MAINTENANCE_TARGET: `127.0.0.1:${port}`,
    });
    const object = await waitFor(
      async () => {
        const found = await node.client.get<NodeMaintenance>(NODE_MAINTENANCES, 'nodemaintenances-node7');
        return found.status?.services?.[0]?.status === 'online' ? found : undefined;
      },
      { what: 'the node to be online' },
    );
    const told = object.metadata.annotations?.['edge.example.com/ssh-host-keys'] ?? '';
    assert.ok(readFileSync(`${hostKey}.pub`, 'utf8').startsWith(told) && told !== '');

    const knownHosts = join(dir, 'known_hosts');
    const proxy = `'${process.execPath}' '${edgePath()}' ctl ssh-proxy %h --server ${node.client.server}`;
    const run = (command: string, env: Record<string, string> = secret) =>
      runProcess(
        ssh,
        [
          '-F',
          'none',
          '-i',
          userKey,
          '-o',
          'IdentitiesOnly=yes',
          '-o',
          'BatchMode=yes',
          '-o',
          'StrictHostKeyChecking=yes',
          '-o',
          `UserKnownHostsFile=${knownHosts}`,
          '-o',
          `ProxyCommand=${proxy}`,
          '-l',
          userInfo().username,
          'node-1',
          command,
        ],
        { env, input: 'x'.repeat(300_000), name: 'ssh' },
      );
    writeFileSync(knownHosts, `node-1 ${told}\n`);
    const done = await run('wc -c; echo trouble >&2; exit 7');
    assert.deepEqual(
      { status: done.status, stdout: done.stdout.trim() },
      { status: 7, stdout: '300000' },
      done.stderr,
    );
    assert.match(done.stderr, /trouble/u);

    const stranger = await run('true', { SIDECAR_SECRET_KEY: 'wrong' });
    assert.equal(stranger.status, 255);

    writeFileSync(knownHosts, `node-1 ${readFileSync(`${userKey}.pub`, 'utf8')}`);
    const refused = await run('true');
    assert.equal(refused.status, 255);
    assert.match(refused.stderr, /host key/iu);
  });
}
