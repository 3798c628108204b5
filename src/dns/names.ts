/** Domain names between text and the wire form that keys every table (see wire.ts). */

/** The wire form of a dotted name in lower case, or undefined when a label or the name is empty or too long (RFC 1035 2.3.4). */
export function encodeName(text: string): string | undefined {
  const trimmed = text.endsWith('.') ? text.slice(0, -1) : text;
  if (trimmed === '') return undefined;
  let wire = '';
  for (const label of trimmed.toLowerCase().split('.')) {
    if (label.length === 0 || label.length > 63 || !/^[!-~]+$/u.test(label)) return undefined;
    wire += String.fromCharCode(label.length) + label;
  }
  return wire.length > 254 ? undefined : `${wire}\0`;
}

/** Where each label starts in a wire name, the root left out; the rest of the name from there is itself a wire name. */
export function labelOffsets(name: string): number[] {
  const offsets: number[] = [];
  for (let at = 0; at < name.length - 1; at += 1 + name.charCodeAt(at)) offsets.push(at);
  return offsets;
}
