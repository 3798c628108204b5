// rathole, a tunnel in Rust: one server with a public port, one client; two programs where the others have three.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePorts } from '../../scripts/demo/ports.mjs';

/** Starts server and client without encryption; resolves with the path. */
export async function startRatholePath(processes, rathole, targetPort) {
  const [controlPort, publicPort] = await freePorts(2);
  const start = (role, config) => {
    const file = join(processes.dir, `rathole-${role}.toml`);
    writeFileSync(file, config);
    const ready = /Listening at|Control channel established/u;
    return processes.start({ name: `rathole ${role}`, command: rathole, args: [`--${role}`, file], ready });
  };
  await start(
    'server',
    `[server]
bind_addr = "127.0.0.1:${controlPort}"
default_token = "bench"
[server.services.service]
bind_addr = "127.0.0.1:${publicPort}"
`,
  );
  await start(
    'client',
    `[client]
remote_addr = "127.0.0.1:${controlPort}"
default_token = "bench"
[client.services.service]
local_addr = "127.0.0.1:${targetPort}"
`,
  );
  const pids = processes.pids('rathole server', 'rathole client');
  return { name: 'rathole, plain', host: '127.0.0.1', port: publicPort, pids };
}
