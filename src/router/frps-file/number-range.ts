/** Number ranges as frp writes them, `6000-6006,6007`: the functions of its templates. Pure and bounded. */

/** One entry of two ranges that are walked together. */
export interface NumberPair {
  first: number;
  second: number;
}

/** There are no more ports than this to range over. */
const MAX_NUMBERS = 65_536;

/** The numbers of `a-b,c`, in order. Throws Error that says which part is wrong. */
export function parseNumberRange(text: string): number[] {
  const numbers: number[] = [];
  for (const part of text.trim().split(',')) {
    const match = /^\s*(\d{1,15})\s*(?:-\s*(\d{1,15})\s*)?$/u.exec(part);
    if (match === null) throw new Error(`"${part}" is neither a number nor a range such as 6000-6006`);
    const start = Number(match[1]);
    const end = match[2] === undefined ? start : Number(match[2]);
    if (end < start) throw new Error(`"${part}" ends before it starts`);
    if (end - start >= MAX_NUMBERS - numbers.length) throw new Error(`more than ${MAX_NUMBERS} numbers`);
    for (let value = start; value <= end; value++) numbers.push(value);
  }
  return numbers;
}

/** The numbers of two ranges of the same length, side by side. Throws Error. */
export function parseNumberRangePair(first: string, second: string): NumberPair[] {
  const left = parseNumberRange(first);
  const right = parseNumberRange(second);
  if (left.length !== right.length)
    throw new Error(`the ranges have ${left.length} and ${right.length} numbers, wanted as many in both`);
  return left.map((value, index) => ({ first: value, second: right[index] ?? value }));
}
