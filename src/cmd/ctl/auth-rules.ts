/** The rules of a SelfSubjectRulesReview as `kubectl auth can-i --list` shows them: one resource or URL a row, sorted. */

/** What the review tells; every list may be absent. */
export interface ReviewedRules {
  resourceRules?: readonly {
    verbs?: readonly string[];
    apiGroups?: readonly string[];
    resources?: readonly string[];
    resourceNames?: readonly string[];
  }[];
  nonResourceRules?: readonly { verbs?: readonly string[]; nonResourceURLs?: readonly string[] }[];
  incomplete?: boolean;
  evaluationError?: string;
}

/** One resource, perhaps one object of it, or one URL, and what may be done with it. */
interface Rule {
  group: string | undefined;
  resource: string | undefined;
  name: string | undefined;
  url: string | undefined;
  verbs: string[];
}

export const RULE_COLUMNS = ['Resources', 'Non-Resource URLs', 'Resource Names', 'Verbs'];

const list = (values: readonly (string | undefined)[]): string =>
  `[${values.filter((value) => value !== undefined).join(' ')}]`;

/** The cells of every row, in the order of {@link RULE_COLUMNS}. */
export function ruleRows(rules: ReviewedRules): string[][] {
  return [...resourceRules(rules), ...urlRules(rules)]
    .map((rule) => ({ rule, key: sortKey(rule) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ rule }) => [qualified(rule), list([rule.url]), list([rule.name]), list(rule.verbs)]);
}

/** The verbs of several rules for the same resource and name stand together. */
function resourceRules({ resourceRules: given = [] }: ReviewedRules): Rule[] {
  const found = new Map<string, Rule>();
  for (const { verbs = [], apiGroups = [], resources = [], resourceNames = [] } of given) {
    for (const group of apiGroups) {
      for (const resource of resources) {
        for (const name of resourceNames.length === 0 ? [undefined] : resourceNames) {
          const key = JSON.stringify([group, resource, name]);
          const rule = found.get(key) ?? { group, resource, name, url: undefined, verbs: [] };
          found.set(key, rule);
          for (const verb of verbs) if (!rule.verbs.includes(verb)) rule.verbs.push(verb);
        }
      }
    }
  }
  return [...found.values()];
}

function urlRules({ nonResourceRules = [] }: ReviewedRules): Rule[] {
  return nonResourceRules.flatMap(({ verbs = [], nonResourceURLs = [] }) =>
    nonResourceURLs.flatMap((url) =>
      verbs.map((verb) => ({ group: undefined, resource: undefined, name: undefined, url, verbs: [verb] })),
    ),
  );
}

/** kubectl sorts by the text that Go has for a rule. */
function sortKey({ verbs, group, resource, name, url }: Rule): string {
  return `Verbs:${list(verbs)},APIGroups:${list([group])},Resources:${list([resource])},ResourceNames:${list([name])},NonResourceURLs:${list([url])},`;
}

/** `routers.edge.example.com/status`. */
function qualified({ group = '', resource = '' }: Rule): string {
  const [plural = '', subresource] = resource.split('/', 2);
  return `${plural}${group === '' ? '' : `.${group}`}${subresource === undefined ? '' : `/${subresource}`}`;
}
