/** Finds repeated members of a JSON text, which JSON.parse drops silently. */

/** Paths reported at most. */
const MAX_FOUND = 20;
/**
 * Levels of a body. What comes later walks it by recursion, and near the end of the stack V8 ends the whole process
 * when it has to compile a regular expression; the schemas have no more than a dozen levels.
 */
const MAX_LEVELS = 256;

/** Whether a value has no more than so many levels. */
function hasLevels(value: unknown, most: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (most === 0) return false;
  if (Array.isArray(value)) return value.every((entry) => hasLevels(entry, most - 1));
  for (const name in value) if (!hasLevels((value as Record<string, unknown>)[name], most - 1)) return false;
  return true;
}

/**
 * The paths of repeated members (`spec.frps.bindPort`) of a text that JSON.parse has made `value` of. Throws for one
 * that is nested deeper than 256 levels.
 */
export function findDuplicateFields(text: string, value: unknown): string[] {
  // programs send what JSON.stringify writes, which has no member twice; that is seen sooner than by looking for them
  if (hasLevels(value, MAX_LEVELS) && JSON.stringify(value) === text) return [];
  const found: string[] = [];
  // one frame a level: the members seen in an object, or the next index of an array
  const stack: { keys?: Set<string>; index: number; path: string }[] = [];
  const token = /"(?:[^"\\]|\\.)*"|[{}[\],]/gu;
  let isKeyNext = false;
  let pathOfValue = '';
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const piece = match[0];
    const top = stack.at(-1);
    if (stack.length > MAX_LEVELS) throw new Error(`nested deeper than ${MAX_LEVELS} levels`);
    if (piece === '{') {
      stack.push({ keys: new Set(), index: 0, path: pathOfValue });
      isKeyNext = true;
    } else if (piece === '[') {
      stack.push({ index: 0, path: pathOfValue });
      pathOfValue = `${pathOfValue}[0]`;
      isKeyNext = false;
    } else if (piece === '}' || piece === ']') {
      stack.pop();
      isKeyNext = false;
    } else if (piece === ',') {
      if (top?.keys !== undefined) isKeyNext = true;
      else if (top !== undefined) pathOfValue = `${top.path}[${++top.index}]`;
    } else if (isKeyNext && top?.keys !== undefined) {
      const key = JSON.parse(piece) as string;
      pathOfValue = top.path === '' ? key : `${top.path}.${key}`;
      if (top.keys.has(key) && found.length < MAX_FOUND) found.push(pathOfValue);
      top.keys.add(key);
      isKeyNext = false;
    }
  }
  return found;
}
