/** Flags and variables of the Frp Adapter, and the configuration that they make. */
import type { AdapterConfig } from '../apiserver/adapter/adapter.ts';
import { parseHostPort } from '../lib/address.ts';
import { UsageError } from '../lib/errors.ts';
import { durationOption, listOption, stringOption, switchOption } from '../lib/options.ts';
import type { OptionValues } from '../lib/options.ts';
import { readTextFile } from './options.ts';
import { readCredentials, tunnelOptions } from './tunnel-options.ts';

/** The adapter's part of `edge apiserver`. */
export const adapterOptions = {
  adapterListen: stringOption({
    description: 'serve the Frp Adapter endpoints and web terminals; tokens are asked for except on loopback',
    placeholder: 'HOST:PORT',
    env: 'FRP_ADAPTER_ADDRESS',
  }),
  adapterTls: switchOption({
    description: "serve them by HTTPS with this server's certificate",
    env: 'FRP_ADAPTER_TLS',
  }),
  adapterRequireToken: switchOption({
    description: 'ask for a token on loopback too, as behind a TLS proxy',
    env: 'FRP_ADAPTER_REQUIRE_TOKEN',
  }),
  adapterOrigin: listOption({
    description: 'origin of web pages that may use them beside their own, https://HOST',
    placeholder: 'ORIGIN',
    env: 'FRP_ADAPTER_ORIGIN',
  }),
  ...tunnelOptions,
  recordingsDir: stringOption({
    description: 'record terminals in this directory',
    placeholder: 'DIR',
    env: 'EDGE_RECORDINGS_DIR',
    defaultText: 'not recorded',
  }),
  terminalIdleTimeout: durationOption({
    description: 'end terminals in which nothing happens; 0 never',
    default: '30m',
    env: 'EDGE_TERMINAL_IDLE_TIMEOUT',
  }),
  terminalCertificates: switchOption({
    description: 'let administrators log in to nodes with SSH certificates issued on the spot',
    env: 'EDGE_TERMINAL_CERTIFICATES',
  }),
  frpServerApi: stringOption({
    description: 'follow an unmodified frps by its dashboard, http://HOST:PORT',
    placeholder: 'URL',
    env: 'FRP_SERVER_API',
  }),
  frpServerUser: stringOption({
    description: "the dashboard's user",
    placeholder: 'NAME',
    env: 'FRP_SERVER_HTTPAUTHUSERNAME',
  }),
  frpServerPassword: stringOption({
    description: "the dashboard's password",
    env: 'FRP_SERVER_HTTPAUTHPASSWORD',
    hasFlag: false,
  }),
  frpServerPasswordFile: stringOption({
    description: "file that holds the dashboard's password",
    placeholder: 'FILE',
    env: 'FRP_SERVER_HTTPAUTHPASSWORD_FILE',
  }),
  frpServerAddress: stringOption({
    description: 'where operators reach that frps',
    placeholder: 'HOST',
    env: 'FRP_SERVER_ADDRESS',
    defaultText: 'the host of --frp-server-api',
  }),
  frpServerInterval: durationOption({
    description: 'how often it is asked',
    default: '1s',
    env: 'FRP_SERVER_INTERVAL',
  }),
};

/** A frps that is asked more often has little time for anything else, milliseconds. */
const MIN_INTERVAL_MS = 100;
const MAX_INTERVAL_MS = 10 * 60_000;

/** Checks the settings; throws UsageError that names the wrong one. */
export function readAdapterConfig(settings: OptionValues<typeof adapterOptions>): AdapterConfig {
  const { adapterListen } = settings;
  for (const origin of settings.adapterOrigin)
    if (!URL.canParse(origin) || new URL(origin).origin !== origin)
      throw new UsageError(
        `--adapter-origin: "${origin}" is not of the form https://HOST or https://HOST:PORT`,
      );
  return {
    listen:
      adapterListen === undefined
        ? undefined
        : parseHostPort(adapterListen, '--adapter-listen (FRP_ADAPTER_ADDRESS)'),
    isTls: settings.adapterTls,
    isTokenRequired: settings.adapterRequireToken,
    origins: settings.adapterOrigin,
    terminals: {
      credentials: readCredentials(settings),
      idleTimeoutMs: settings.terminalIdleTimeout,
      recordingsDir: settings.recordingsDir,
      isIssuing: settings.terminalCertificates,
    },
    frps: readFrps(settings),
  };
}

function readFrps(settings: OptionValues<typeof adapterOptions>): AdapterConfig['frps'] {
  const { frpServerApi, frpServerUser = '', frpServerPassword, frpServerPasswordFile } = settings;
  if (frpServerApi === undefined) return undefined;
  const what = '--frp-server-api (FRP_SERVER_API)';
  const url = URL.canParse(frpServerApi) ? new URL(frpServerApi) : undefined;
  if (url === undefined || !/^https?:$/u.test(url.protocol) || url.hostname === '')
    throw new UsageError(`${what}: "${frpServerApi.replace(/\/\/[^/]*@/u, '//…@')}" is not http://HOST:PORT`);
  if (url.username !== '' || url.password !== '' || url.search !== '')
    throw new UsageError(`${what}: user and password have flags and variables of their own`);
  const intervalMs = settings.frpServerInterval;
  if (intervalMs < MIN_INTERVAL_MS || intervalMs > MAX_INTERVAL_MS)
    throw new UsageError('--frp-server-interval: wanted 100ms to 10m');
  const password =
    frpServerPassword ??
    (frpServerPasswordFile === undefined
      ? ''
      : readTextFile(frpServerPasswordFile, '--frp-server-password-file').trim());
  return {
    url: url.href,
    user: frpServerUser,
    password,
    address: settings.frpServerAddress ?? url.hostname.replaceAll(/[[\]]/gu, ''),
    intervalMs,
  };
}
