// Label and field selectors: their text form (apimachinery pkg/labels and pkg/fields) and whether something matches.
import type { LabelSelector, LabelSelectorRequirement } from './types.generated.ts';

export type Labels = Readonly<Record<string, string>>;

export type LabelOperator = 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'Gt' | 'Lt';

export interface LabelRequirement {
  readonly key: string;
  readonly operator: LabelOperator;
  readonly values: readonly string[];
}

export interface FieldRequirement {
  readonly field: string;
  readonly operator: '=' | '!=';
  readonly value: string;
}

/** A selector that cannot be read or holds an invalid key or value; the message is Kubernetes' own. */
export class SelectorError extends Error {
  override readonly name = 'SelectorError';
}

/** A parsed label selector: a predicate over labels that also shows its requirements. */
export interface ParsedLabelSelector {
  (labels: Labels | undefined): boolean;
  readonly requirements: readonly LabelRequirement[];
}

/** A parsed field selector: a predicate over a reader of fields that also shows its requirements. */
export interface ParsedFieldSelector {
  (read: (field: string) => string): boolean;
  readonly requirements: readonly FieldRequirement[];
}

const tokenPattern = /\s*(?:(!=|==|=|!|,|\(|\)|>|<)|([^\s,()!=<>]+))/y;

function tokensOf(text: string): string[] {
  const tokens: string[] = [];
  tokenPattern.lastIndex = 0;
  for (;;) {
    const at = tokenPattern.lastIndex;
    const match = tokenPattern.exec(text);
    if (match === null) {
      if (text.slice(at).trim() !== '')
        throw new SelectorError(`unable to parse requirement: found '${text.slice(at)}'`);
      return tokens;
    }
    tokens.push(match[1] ?? match[2] ?? '');
  }
}

const operatorWords: Readonly<Record<string, LabelOperator>> = {
  '=': 'In',
  '==': 'In',
  '!=': 'NotIn',
  in: 'In',
  notin: 'NotIn',
  '>': 'Gt',
  '<': 'Lt',
};
const symbols = new Set(['!=', '==', '=', '!', ',', '(', ')', '>', '<', '']);
const isSymbol = (token: string): boolean => symbols.has(token);

/**
 * Reads `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>5,m<6`. An empty text selects everything.
 * A {@link SelectorError} with the message of apimachinery's pkg/labels parser where it cannot be read.
 */
export function parseLabelSelector(text: string): ParsedLabelSelector {
  const tokens = tokensOf(text);
  const requirements: LabelRequirement[] = [];
  let at = 0;
  const take = (): string => tokens[at++] ?? '';
  const peek = (): string => tokens[at] ?? '';
  const fail = (found: string, expected: string): never => {
    throw new SelectorError(`unable to parse requirement: found '${found}', expected: ${expected}`);
  };
  const values = (): string[] => {
    if (peek() !== '(') fail(peek(), "'('");
    take();
    const list: string[] = [];
    for (;;) {
      // An element may be empty: `in (a,)` holds the empty string too.
      list.push(isSymbol(peek()) ? '' : take());
      const next = take();
      if (next === ')') return [...new Set(list)].sort();
      if (next !== ',') fail(next, "',', or ')'");
    }
  };
  const requirement = (): LabelRequirement => {
    const absent = peek() === '!';
    if (absent) take();
    const key = isSymbol(peek()) ? fail(peek(), "!, identifier, or ''") : take();
    checkKey(key);
    if (absent) return { key, operator: 'DoesNotExist', values: [] };
    if (peek() === '' || peek() === ',') return { key, operator: 'Exists', values: [] };
    const word = take();
    const operator = operatorWords[word] ?? fail(word, "in, notin, =, ==, !=, gt, lt, or ''");
    if (word === 'in' || word === 'notin') return { key, operator, values: values() };
    return { key, operator, values: [isSymbol(peek()) ? '' : take()] };
  };
  while (at < tokens.length) {
    const next = requirement();
    checkValues(next);
    requirements.push(next);
    if (at >= tokens.length) break;
    const separator = take();
    if (separator !== ',') fail(separator, "',' or 'end of string'");
    if (at >= tokens.length) fail('', "identifier after ','");
  }
  const predicate = (labels: Labels | undefined): boolean =>
    requirements.every((each) => meetsRequirement(each, labels ?? {}));
  return Object.assign(predicate, { requirements });
}

const namePattern = /^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$/;
const domainPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const nameRule =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const valueRule =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/** What is wrong with a label's or annotation's key (IsQualifiedName), or undefined. */
function labelKeyProblem(key: string): string | undefined {
  const parts = key.split('/');
  const [name = '', prefix] = parts.length === 1 ? parts : [parts[1], parts[0]];
  if (parts.length > 2)
    return `a qualified name ${nameRule} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`;
  if (prefix === '') return 'prefix part must be non-empty';
  if (prefix !== undefined && (prefix.length > 253 || !domainPattern.test(prefix)))
    return "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
  if (name === '') return 'name part must be non-empty';
  if (name.length > 63) return 'name part must be no more than 63 bytes';
  return namePattern.test(name) ? undefined : `name part ${nameRule}`;
}

/** What is wrong with a label's value (IsValidLabelValue), or undefined. */
function labelValueProblem(value: string): string | undefined {
  if (value.length > 63) return 'must be no more than 63 bytes';
  return value === '' || namePattern.test(value) ? undefined : valueRule;
}

function checkKey(key: string): void {
  const problem = labelKeyProblem(key);
  if (problem !== undefined) throw new SelectorError(`key: Invalid value: "${key}": ${problem}`);
}

function checkValues({ key, operator, values }: LabelRequirement): void {
  if ((operator === 'Gt' || operator === 'Lt') && !/^-?\d+$/.test(values[0] ?? ''))
    throw new SelectorError(
      `values[0][${key}]: Invalid value: "${values[0] ?? ''}": for 'Gt', 'Lt' operators, the value must be an integer`,
    );
  for (const [index, value] of values.entries()) {
    const problem = labelValueProblem(value);
    if (problem !== undefined)
      throw new SelectorError(`values[${index}][${key}]: Invalid value: "${value}": ${problem}`);
  }
}

/** Whether labels meet one requirement; NotIn and DoesNotExist are met by an absent key, Gt and Lt compare integers. */
export function meetsRequirement({ key, operator, values }: LabelRequirement, labels: Labels): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
    case 'Lt': {
      if (value === undefined || !/^-?\d+$/.test(value) || !/^-?\d+$/.test(values[0] ?? '')) return false;
      const [left, right] = [BigInt(value), BigInt(values[0] ?? '0')];
      return operator === 'Gt' ? left > right : left < right;
    }
  }
}

const operators: Readonly<Record<string, LabelOperator>> = {
  In: 'In',
  NotIn: 'NotIn',
  Exists: 'Exists',
  DoesNotExist: 'DoesNotExist',
  Gt: 'Gt',
  Lt: 'Lt',
};

/** A requirement as objects carry it (LabelSelectorRequirement, NodeSelectorRequirement), typed. */
export function requirementOf({ key, operator, values }: LabelSelectorRequirement): LabelRequirement {
  const known = operators[operator];
  if (known === undefined) throw new SelectorError(`"${operator}" is not a valid label selector operator`);
  return { key, operator: known, values: values ?? [] };
}

/** Whether labels match an object's LabelSelector: an absent selector matches nothing, an empty one everything. */
export function matchesLabelSelector(selector: LabelSelector | undefined, labels: Labels | undefined): boolean {
  if (selector === undefined) return false;
  const given = labels ?? {};
  return (
    matchesLabels(selector.matchLabels ?? {}, given) &&
    (selector.matchExpressions ?? []).every((each) => meetsRequirement(requirementOf(each), given))
  );
}

/** Whether labels hold every pair of a plain map, as Service.spec.selector and nodeSelector are read. */
export function matchesLabels(wanted: Labels, labels: Labels | undefined): boolean {
  const given = labels ?? {};
  return Object.entries(wanted).every(([key, value]) => Object.hasOwn(given, key) && given[key] === value);
}

/** The text form of a LabelSelector, for status.selector and for requests; keys in alphabetical order. */
export function formatLabelSelector(selector: LabelSelector): string {
  const equal = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => ({ key, text: `${key}=${value}` }));
  const others = (selector.matchExpressions ?? []).map((each) => {
    const { key, operator, values } = requirementOf(each);
    const list = `(${[...values].sort().join(',')})`;
    const texts: Record<LabelOperator, string> = {
      In: `${key} in ${list}`,
      NotIn: `${key} notin ${list}`,
      Exists: key,
      DoesNotExist: `!${key}`,
      Gt: `${key}>${values[0] ?? ''}`,
      Lt: `${key}<${values[0] ?? ''}`,
    };
    return { key, text: texts[operator] };
  });
  return [...equal, ...others]
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ text }) => text)
    .join(',');
}

/**
 * Reads `a.b=c,d!=e` (also `==`); a backslash escapes `\`, `,` and `=` in values. Empty terms are ignored.
 * A {@link SelectorError} with the message of apimachinery's pkg/fields where it cannot be read. Which fields a kind
 * supports is for the caller to check.
 */
export function parseFieldSelector(text: string): ParsedFieldSelector {
  const requirements: FieldRequirement[] = [];
  for (const term of splitTerms(text)) {
    if (term === '') continue;
    const match = /^((?:[^\\=!]|\\.|!(?!=))*)(!=|==|=)(.*)$/s.exec(term);
    if (match === null) throw new SelectorError(`invalid selector: '${text}'; can't understand '${term}'`);
    const [, field = '', operator, raw = ''] = match;
    requirements.push({ field, operator: operator === '!=' ? '!=' : '=', value: unescapeField(raw) });
  }
  const predicate = (read: (field: string) => string): boolean =>
    requirements.every(({ field, operator, value }) => (read(field) === value) === (operator === '='));
  return Object.assign(predicate, { requirements });
}

function splitTerms(text: string): string[] {
  return text === '' ? [] : [...text.matchAll(/((?:[^\\,]|\\.|\\$)*)(?:,|$)/gs)].map((match) => match[1] ?? '');
}

function unescapeField(value: string): string {
  return value.replace(/\\(.?)|([,=])/gs, (whole: string, escaped: string | undefined) => {
    if (escaped === undefined)
      throw new SelectorError(`invalid field selector: unescaped character in value: ${whole}`);
    if (escaped === '\\' || escaped === ',' || escaped === '=') return escaped;
    throw new SelectorError(`invalid field selector: invalid escape sequence: \\${escaped}`);
  });
}
