// What the demo shows: one line a step, colours on a terminal only (https://no-color.org).

const hasColor = process.stdout.isTTY === true && (process.env.NO_COLOR ?? '') === '';
const paint = (code, text) => (hasColor ? `\u001B[${code}m${text}\u001B[0m` : text);

export const green = (text) => paint('32', text);
export const red = (text) => paint('31', text);
export const bold = (text) => paint('1', text);
export const dim = (text) => paint('2', text);

/** How long something took, for people. */
export function seconds(sinceMs) {
  return dim(`${((performance.now() - sinceMs) / 1000).toFixed(1)} s`);
}

/** Does one step and prints how it ended: `✓ what it did  0.3 s`. The work may return a note to show. */
export async function step(title, work) {
  const startedAt = performance.now();
  try {
    const note = await work();
    const shown = typeof note === 'string' ? ` ${dim(note)}` : '';
    console.log(`${green('✓')} ${title}${shown}  ${seconds(startedAt)}`);
  } catch (err) {
    console.log(`${red('✗')} ${title}  ${seconds(startedAt)}`);
    throw err;
  }
}
