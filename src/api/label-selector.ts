/** Label selectors as `kubectl -l` has them: a small grammar, read once and matched often. */
import { labelValueProblems, qualifiedNameProblems } from './names.ts';
import { badRequest } from './status.ts';

/** One requirement of a label selector. */
export interface LabelRequirement {
  key: string;
  operator: 'in' | 'notin' | 'exists' | 'absent' | 'above' | 'below';
  values: readonly string[];
}

/** A parsed label selector; empty matches everything. */
export type LabelSelector = readonly LabelRequirement[];

type TokenKind = 'word' | 'end' | '!' | '=' | '==' | '!=' | '(' | ')' | ',' | '>' | '<';

interface Token {
  kind: TokenKind;
  text: string;
}

const TOKEN = /\s*(?:(==|!=|[=!(),<>])|([^\s=!(),<>]+))/uy;
const INTEGER = /^[+-]?\d{1,18}$/u;

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(text); match !== null; match = TOKEN.exec(text)) {
    const [, symbol, word = ''] = match;
    tokens.push(
      symbol === undefined ? { kind: 'word', text: word } : { kind: symbol as TokenKind, text: symbol },
    );
  }
  return tokens;
}

/** Reads one selector from its tokens; the texts of errors are Kubernetes'. */
class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  #peek(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', text: '' };
  }

  #take(): Token {
    const token = this.#peek();
    this.#at++;
    return token;
  }

  #unexpected({ text }: Token, expected: string): Error {
    return badRequest(`found '${text}', expected: ${expected}`);
  }

  #misread(token: Token, expected: string): Error {
    return badRequest(`unable to parse requirement: found '${token.text}', expected: ${expected}`);
  }

  selector(): LabelRequirement[] {
    const requirements: LabelRequirement[] = [];
    while (this.#peek().kind !== 'end') {
      const first = this.#peek();
      if (first.kind !== 'word' && first.kind !== '!')
        throw this.#unexpected(first, "!, identifier, or 'end of string'");
      requirements.push(this.#requirement());
      const next = this.#take();
      if (next.kind === 'end') break;
      if (next.kind !== ',') throw this.#unexpected(next, "',' or 'end of string'");
      const following = this.#peek();
      if (following.kind !== 'word' && following.kind !== '!')
        throw this.#unexpected(following, "identifier after ','");
    }
    return requirements;
  }

  #requirement(): LabelRequirement {
    const isAbsent = this.#peek().kind === '!';
    if (isAbsent) this.#take();
    const { kind, text: key } = this.#peek();
    if (kind !== 'word') throw this.#misread(this.#peek(), 'identifier');
    this.#take();
    const [problem] = qualifiedNameProblems(key);
    if (problem !== undefined) throw wrong('<nil>', key, problem);
    if (isAbsent) return { key, operator: 'absent', values: [] };
    if (this.#peek().kind === 'end' || this.#peek().kind === ',')
      return { key, operator: 'exists', values: [] };
    const requirement = this.#comparison(key);
    for (const [at, value] of requirement.values.entries()) {
      const [problem] = labelValueProblems(value);
      if (problem !== undefined) throw wrong(`values[${at}][${key}]`, value, problem);
    }
    return requirement;
  }

  #comparison(key: string): LabelRequirement {
    const token = this.#take();
    switch (token.kind) {
      case '=':
      case '==':
        return { key, operator: 'in', values: [this.#exactValue()] };
      case '!=':
        return { key, operator: 'notin', values: [this.#exactValue()] };
      case '>':
      case '<': {
        const value = this.#exactValue();
        if (!INTEGER.test(value))
          throw wrong('values[0]', value, "for 'Gt', 'Lt' operators, the value must be an integer");
        return { key, operator: token.kind === '>' ? 'above' : 'below', values: [value] };
      }
      default:
        if (token.kind === 'word' && (token.text === 'in' || token.text === 'notin'))
          return { key, operator: token.text, values: this.#values() };
        throw this.#misread(token, 'in, notin, =, ==, !=, gt, lt');
    }
  }

  /** One value; nothing at all is the empty value. */
  #exactValue(): string {
    const next = this.#peek();
    if (next.kind === 'end' || next.kind === ',') return '';
    if (next.kind !== 'word') throw this.#misread(next, 'identifier');
    return this.#take().text;
  }

  /** Values in parentheses; between two commas stands the empty value. */
  #values(): string[] {
    const open = this.#take();
    if (open.kind !== '(') throw this.#misread(open, "'('");
    const values: string[] = [];
    for (;;) {
      const token = this.#peek();
      values.push(token.kind === 'word' ? this.#take().text : '');
      const next = this.#take();
      if (next.kind === ')') return values;
      if (next.kind !== ',') throw this.#misread(next, "',' or ')'");
    }
  }
}

function wrong(where: string, value: string, why: string): Error {
  return badRequest(`unable to parse requirement: ${where}: Invalid value: ${JSON.stringify(value)}: ${why}`);
}

/** Parses a label selector; throws a 400 Status. An empty text selects everything. */
export function parseLabelSelector(text: string): LabelSelector {
  return new Parser(tokensOf(text)).selector();
}

/** Whether labels satisfy every requirement. `!=` and `notin` match an absent label too. */
export function matchesLabels(
  selector: LabelSelector,
  labels: Readonly<Record<string, string>> | undefined,
): boolean {
  return selector.every(({ key, operator, values }) => {
    const value = labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
    switch (operator) {
      case 'in':
        return value !== undefined && values.includes(value);
      case 'notin':
        return value === undefined || !values.includes(value);
      case 'exists':
        return value !== undefined;
      case 'absent':
        return value === undefined;
      default: {
        if (value === undefined || !INTEGER.test(value)) return false;
        const difference = BigInt(value.replace('+', '')) - BigInt((values[0] ?? '').replace('+', ''));
        return operator === 'above' ? difference > 0n : difference < 0n;
      }
    }
  });
}
