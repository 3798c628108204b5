/** Flags and variables that lead through a Router to a node's sshd, and the credentials that they make. */
import { NO_TOKENS, parseTokenFile } from '../api/router-tokens.ts';
import { UsageError } from '../lib/errors.ts';
import { stringOption, switchOption } from '../lib/options.ts';
import type { OptionValues } from '../lib/options.ts';
import type { TunnelCredentials } from '../ssh/node-connection.ts';
import { readTextFile } from './options.ts';

/** Flags and variables that lead through a Router; the same as a sidecar's. */
export const tunnelOptions = {
  routerToken: stringOption({ description: 'token for Routers', env: 'EDGE_ROUTER_TOKEN', hasFlag: false }),
  routerTokenFile: stringOption({
    description: 'file that holds the token for Routers, or a YAML map of Router names to tokens',
    placeholder: 'FILE',
    env: 'EDGE_ROUTER_TOKEN_FILE',
  }),
  secretKey: stringOption({
    description: 'secret of the maintenance services',
    env: 'SIDECAR_SECRET_KEY',
    hasFlag: false,
  }),
  secretKeyFile: stringOption({
    description: 'file that holds the secret of the maintenance services',
    placeholder: 'FILE',
    env: 'SIDECAR_SECRET_KEY_FILE',
  }),
  requireSealed: switchOption({
    description: 'refuse connections that are not sealed from end to end, as the sidecar does',
    env: 'SIDECAR_REQUIRE_SEALED',
  }),
};

/** Reads the files that flags and variables name; a value wins over a file. Throws UsageError. */
export function readCredentials(settings: OptionValues<typeof tunnelOptions>): TunnelCredentials {
  const { routerToken, routerTokenFile, secretKey, secretKeyFile } = settings;
  const tokens =
    routerToken !== undefined
      ? { ...NO_TOKENS, common: routerToken }
      : routerTokenFile === undefined
        ? NO_TOKENS
        : parseTokenFile(readTextFile(routerTokenFile, '--router-token-file'), routerTokenFile);
  const secret =
    secretKey ?? (secretKeyFile === undefined ? '' : readTextFile(secretKeyFile, '--secret-key-file').trim());
  const isSealRequired = settings.requireSealed;
  if (isSealRequired && secret === '')
    throw new UsageError('--require-sealed: there is no secret to seal with (--secret-key-file)');
  return { tokens, secret, isSealRequired };
}
