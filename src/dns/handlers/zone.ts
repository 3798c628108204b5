/** Answers names that the zone owns; passes on all others. */
import type { Handler } from '../chain.ts';
import type { Zone } from '../zone.ts';

/** Creates the handler. */
export function createZoneHandler(zone: Zone): Handler {
  return (query, next) => zone.lookup(query) ?? next(query);
}
