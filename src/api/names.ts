/** What names, qualified keys and label values may look like, with Kubernetes' words for what is wrong with one. */

const SUBDOMAIN = /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/u;
const SUBDOMAIN_TEXT =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const MAX_SUBDOMAIN = 253;

const NAME_PART = /^(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/u;
const NAME_PART_TEXT =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
/** Of the part after the slash of a key, and of a label's value. */
const MAX_PART = 63;

const LABEL_VALUE = /^(?:(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$/u;
const LABEL_VALUE_TEXT =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/** Why a text is no DNS-1123 subdomain of up to 253 characters; empty when it is one. */
export function subdomainProblems(text: string): string[] {
  const problems: string[] = [];
  if (text.length > MAX_SUBDOMAIN) problems.push(`must be no more than ${MAX_SUBDOMAIN} characters`);
  // the pattern alone would take long for a text without end
  if (text.length > MAX_SUBDOMAIN * 4 || !SUBDOMAIN.test(text)) problems.push(SUBDOMAIN_TEXT);
  return problems;
}

/** Why a text is no qualified name, which is a name of up to 63 characters after an optional DNS prefix. */
export function qualifiedNameProblems(text: string): string[] {
  const parts = text.split('/');
  const [prefix, name] = parts.length === 1 ? [undefined, text] : parts;
  if (parts.length > 2) {
    return [
      `a valid label key ${NAME_PART_TEXT} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
    ];
  }
  const problems =
    prefix === ''
      ? ['prefix part must be non-empty']
      : prefix === undefined
        ? []
        : subdomainProblems(prefix).map((problem) => `prefix part ${problem}`);
  if (name === undefined || name === '') problems.push('name part must be non-empty');
  else if (name.length > MAX_PART) problems.push(`name part must be no more than ${MAX_PART} bytes`);
  if (!NAME_PART.test(name ?? '')) problems.push(`name part ${NAME_PART_TEXT}`);
  return problems;
}

/** Why a text may not be the value of a label. */
export function labelValueProblems(text: string): string[] {
  const problems: string[] = [];
  if (text.length > MAX_PART) problems.push(`must be no more than ${MAX_PART} bytes`);
  if (!LABEL_VALUE.test(text)) problems.push(LABEL_VALUE_TEXT);
  return problems;
}

/** Whether a text may name an object. */
export function isObjectName(text: string): boolean {
  return subdomainProblems(text).length === 0;
}

/** Whether a text is a qualified name. */
export function isQualifiedName(text: string): boolean {
  return qualifiedNameProblems(text).length === 0;
}

/** Whether a text may be the value of a label. */
export function isLabelValue(text: string): boolean {
  return labelValueProblems(text).length === 0;
}
