/** JSON merge patch (RFC 7386): null removes, objects merge, everything else replaces. Inputs are never changed. */
import { isEqualJson, isRecord, setMember } from '../../lib/json.ts';

/**
 * Applies a patch (RFC 7386 section 2). What it leaves as it is, is the target's own, not a copy. A `__proto__` member is a
 * plain key, never a prototype.
 */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isRecord(patch)) return isEqualJson(target, patch) ? target : patch;
  const base = isRecord(target) ? target : {};
  let merged = base;
  for (const key in patch) {
    const value = patch[key];
    const isKnown = Object.hasOwn(base, key);
    const next = value === null ? undefined : mergePatch(isKnown ? base[key] : undefined, value);
    if (value === null ? !isKnown : isKnown && next === base[key]) continue;
    if (merged === base) merged = copyMembers(base);
    if (value === null) delete merged[key];
    else setMember(merged, key, next);
  }
  return merged;
}

/** A copy that is one level deep. */
function copyMembers(record: Record<string, unknown>): Record<string, unknown> {
  return { ...record }; // defines own members, __proto__ too
}
