/** Looks for everything that can be wrong inside a database of the store, whatever its checksum says. */
import { errorMessage } from '../../lib/errors.ts';
import type { SqliteImage } from './sqlite.ts';

/** Problems shown of one image; more help nobody. */
const MAX_PROBLEMS = 20;

function objectProblem(json: string, name: string, revision: number): string | undefined {
  try {
    const object = JSON.parse(json) as { metadata?: { name?: unknown; resourceVersion?: unknown } } | null;
    if (object?.metadata?.name !== name) return 'its metadata names another object';
    if (object.metadata.resourceVersion !== String(revision))
      return `its resourceVersion is not its revision ${revision}`;
  } catch (err) {
    return `it is not JSON: ${errorMessage(err)}`;
  }
  return undefined;
}

/** What is wrong with an open image, in words; empty when it is sound. Never throws for a damaged database. */
export function imageProblems(image: SqliteImage): string[] {
  const problems: string[] = [];
  try {
    problems.push(...image.integrityProblems());
    const [format, revision, floor] = [image.meta('format'), image.meta('revision'), image.meta('floor')];
    if (format !== 1) problems.push(`format ${format} is not one that this version of edge knows`);
    if (!Number.isSafeInteger(revision) || !Number.isSafeInteger(floor) || floor > revision)
      problems.push(`revision ${revision} and history floor ${floor} do not fit together`);
    for (const row of image.objects()) {
      if (problems.length >= MAX_PROBLEMS) break;
      const problem =
        row.revision > revision
          ? `its revision ${row.revision} is above the newest, ${revision}`
          : objectProblem(row.json, row.name, row.revision);
      if (problem !== undefined) problems.push(`object ${row.resource}/${row.name}: ${problem}`);
    }
    const { count, first, last } = image.eventRange();
    if (count > 0 && (first <= floor || last > revision || last - first + 1 !== count))
      problems.push(`the history has gaps: ${count} events from ${first} to ${last}, floor ${floor}`);
    const lost = image.lostValues();
    if (lost > 0) problems.push(`the history has ${lost} events of objects that are not there`);
  } catch (err) {
    problems.push(errorMessage(err));
  }
  return problems;
}
