/**
 * Values as JSON has them: told apart, compared and copied without the generality, and the cost, of what Node offers for any
 * value. Their members are all own ones: `for … in` visits those and makes no list of them.
 */

/** Whether a value is an object with members: neither a list nor null. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether two JSON values are equal; the order of members does not matter. */
export function isEqualJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
    for (let at = 0; at < a.length; at++) if (!isEqualJson(a[at], b[at])) return false;
    return true;
  }
  return hasEqualMembers(a, b);
}

/** Whether two JSON objects have equal members, but for the one that is called `except`. */
export function hasEqualMembers(a: object, b: object, except?: string): boolean {
  const [ours, theirs] = [a as Record<string, unknown>, b as Record<string, unknown>];
  let members = 0;
  for (const name in ours) {
    if (name === except) continue;
    if (!Object.hasOwn(theirs, name) || !isEqualJson(ours[name], theirs[name])) return false;
    members++;
  }
  for (const name in theirs) if (name !== except) members--;
  return members === 0;
}

/** Sets an own member, also `__proto__`, which plain assignment would turn into a prototype. */
export function setMember(target: Record<string, unknown>, name: string, value: unknown): void {
  if (name === '__proto__')
    Object.defineProperty(target, name, { value, enumerable: true, writable: true, configurable: true });
  else target[name] = value;
}

/** A copy that shares nothing with the value. */
export function copyJson<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((entry: unknown) => copyJson(entry)) as T;
  const copy: Record<string, unknown> = {};
  for (const name in value) setMember(copy, name, copyJson((value as typeof copy)[name]));
  return copy as T;
}
