/** Finds repeated members of a JSON text, which JSON.parse drops silently. */

/** Paths reported at most. */
const MAX_FOUND = 20;
/**
 * Levels of a body. What comes later walks it by recursion, and near the end of the stack V8 ends the whole process
 * when it has to compile a regular expression; the schemas have no more than a dozen levels.
 */
const MAX_LEVELS = 256;

/** How many members a value has at all its levels; NaN when those are more than `most`. */
function countMembers(value: unknown, most: number): number {
  if (typeof value !== 'object' || value === null) return 0;
  if (most === 0) return Number.NaN;
  let count = 0;
  if (Array.isArray(value)) for (const entry of value) count += countMembers(entry, most - 1);
  else
    for (const name in value) count += 1 + countMembers((value as Record<string, unknown>)[name], most - 1);
  return count;
}

/** Whether a text has so many colons and no more. */
function hasColons(text: string, count: number): boolean {
  let left = count;
  for (let at = text.indexOf(':'); at !== -1 && left >= 0; at = text.indexOf(':', at + 1)) left--;
  return left === 0;
}

/**
 * The paths of repeated members (`spec.frps.bindPort`) of a text that JSON.parse has made `value` of. Throws for one
 * that is nested deeper than 256 levels.
 */
export function findDuplicateFields(text: string, value: unknown): string[] {
  // each member has a colon: as many as members leave none for a second one of a name. Programs send what JSON.stringify
  // writes, which has no member twice either. Both are seen sooner than by looking for them
  const members = countMembers(value, MAX_LEVELS);
  if (!Number.isNaN(members) && (hasColons(text, members) || JSON.stringify(value) === text)) return [];
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
