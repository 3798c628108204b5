/** Command lines for a node: where they begin in the arguments, and how words become what a shell reads. Pure. */

/** The arguments before `--`, and the command after it. */
export function splitCommand(argv: readonly string[]): {
  own: string[];
  command: string[];
  hasCommand: boolean;
} {
  const at = argv.indexOf('--');
  return at === -1
    ? { own: [...argv], command: [], hasCommand: false }
    : { own: argv.slice(0, at), command: argv.slice(at + 1), hasCommand: true };
}

/**
 * The text with which a shell runs exactly these words, as `kubectl exec` would. One word alone is a text for the
 * shell, so that `-- 'ls | wc -l'` works too.
 */
export function commandText(words: readonly string[]): string {
  return words.length === 1 ? (words[0] ?? '') : words.map(quote).join(' ');
}

/** A word as a POSIX shell reads it. */
export function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/u.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
