/** Ports that were free a moment ago, for programs that cannot be told to pick one themselves. */
import { freePorts } from '../../scripts/demo/ports.mjs';

export { freePorts, QUIET_PORTS } from '../../scripts/demo/ports.mjs';

/** One free TCP port of `host`, which no other test gets; another program may take it before it is used. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  const [port = 0] = await freePorts(1, host);
  return port;
}
