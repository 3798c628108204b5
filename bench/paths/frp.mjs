// frp as it carries the same: frpc with an stcp proxy, frps, frpc with the visitor.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:net';
import { freePorts } from '../../scripts/demo/ports.mjs';
import { until } from '../../scripts/demo/wait.mjs';

/** Starts a server and two clients; `isTls` is frp's default. Resolves with the path. */
export async function startFrpPath(processes, { frps, frpc }, targetPort, isTls) {
  const name = isTls ? 'frp stcp, default TLS' : 'frp stcp, TLS off';
  const [bindPort, visitorPort] = await freePorts(2);
  const client = {
    serverAddr: '127.0.0.1',
    serverPort: bindPort,
    auth: { token: 'bench' },
    transport: { tls: { enable: isTls } },
  };
  const service = { name: 'service', type: 'stcp', secretKey: 'bench' };
  const start = (role, command, config, ready) => {
    const file = join(processes.dir, `${role} ${name}.json`.replaceAll(/[ ,]+/gu, '-'));
    writeFileSync(file, JSON.stringify(config));
    return processes.start({ name: `${role} of ${name}`, command, args: ['-c', file], ready });
  };
  const server = { bindAddr: '127.0.0.1', bindPort, auth: { token: 'bench' } };
  await start('frps', frps, server, /started successfully/u);
  const proxies = [{ ...service, localIP: '127.0.0.1', localPort: targetPort }];
  await start('provider', frpc, { ...client, proxies }, /start proxy success/u);
  const visitors = [
    { ...service, name: 'visitor', serverName: 'service', bindAddr: '127.0.0.1', bindPort: visitorPort },
  ];
  await start('visitor', frpc, { ...client, visitors }, /login to server success/u);
  await until(`${name} carries`, 10_000, () => answers(visitorPort));
  const pids = processes.pids(`frps of ${name}`, `provider of ${name}`, `visitor of ${name}`);
  return { name, host: '127.0.0.1', port: visitorPort, pids };
}

function answers(port) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, timeout: 2000 }, () => socket.write('e'));
    socket.on('timeout', () => socket.destroy(new Error('no answer')));
    socket.on('error', reject);
    socket.on('close', () => resolve(false));
    socket.once('data', () => {
      resolve(true);
      socket.destroy();
    });
  });
}
