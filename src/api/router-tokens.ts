/** Tokens for Routers: one for all, or a YAML map of Router name to token. */
import { UsageError } from '../lib/errors.ts';
import { parseYaml } from '../lib/yaml.ts';

/** Where the token of a Router comes from. */
export interface RouterTokens {
  /** For Routers without one of their own; empty for none. */
  common: string;
  byRouter: ReadonlyMap<string, string>;
}

/** No Router has a token. */
export const NO_TOKENS: RouterTokens = { common: '', byRouter: new Map() };

/**
 * Reads a token file: a map of Router names to tokens (`*` for all others), or the token itself. Throws UsageError
 * that names the file and the Router, never the token.
 */
export function parseTokenFile(text: string, source: string): RouterTokens {
  const token = text.trim();
  if (token.includes('\n') || /^[^\s:]+:\s/u.test(token) || token.startsWith('{')) {
    const value = parseYaml(text, source);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw new UsageError(`${source}: wanted one token or a map of Router names to tokens`);
    }
    const byRouter = new Map<string, string>();
    for (const [name, entry] of Object.entries(value)) {
      if (typeof entry !== 'string')
        throw new UsageError(`${source}: the token of Router ${name} is not a text; quote it`);
      byRouter.set(name, entry);
    }
    const common = byRouter.get('*') ?? '';
    byRouter.delete('*');
    return { common, byRouter };
  }
  return { common: token, byRouter: new Map() };
}

/** The token of one Router; empty when it has none. */
export function tokenFor(tokens: RouterTokens, router: string): string {
  return tokens.byRouter.get(router) ?? tokens.common;
}
