// nftables as typed data, and its rendering to the language of nft(8). Pure; nft-run.ts hands the text to the kernel.
import type { Cidr, Ip } from '../net/address.ts';

/** Which packets a table sees: one address family for each table, as sets hold addresses of one family only. */
export type TableFamily = 'ip' | 'ip6' | 'inet' | 'bridge';

export interface TableName {
  readonly family: TableFamily;
  readonly name: string;
}

/** A table with what its elements are. Changes of elements that say nothing of it are written by nft(8)'s own code. */
export interface TableWithSets extends TableName {
  readonly sets?: readonly SetDefinition[];
}

export type L4Protocol = 'tcp' | 'udp' | 'sctp';

/** Anything that has a value for a packet, or is one. See nft(8), EXPRESSIONS. */
export type Expr =
  | { readonly kind: 'payload'; readonly header: 'ip' | 'ip6'; readonly field: 'saddr' | 'daddr' }
  | { readonly kind: 'payload'; readonly header: 'arp'; readonly field: 'saddr ip' }
  | { readonly kind: 'payload'; readonly header: 'th' | L4Protocol; readonly field: 'sport' | 'dport' }
  | { readonly kind: 'meta'; readonly key: 'l4proto' | 'mark' | 'priority' | 'iifname' | 'oifname' }
  | { readonly kind: 'ct'; readonly key: 'state' | 'status' | 'mark' }
  | {
      readonly kind: 'ct-original';
      readonly key: 'ip saddr' | 'ip daddr' | 'ip6 saddr' | 'ip6 daddr' | 'proto-src' | 'proto-dst';
    }
  | { readonly kind: 'random'; readonly modulus: number; readonly offset?: number }
  /** A hash from `offset` up to `modulus` values on (32 bits of it where absent); another one with another seed. */
  | {
      readonly kind: 'hash';
      readonly of: Expr;
      readonly seed: number;
      readonly modulus?: number;
      readonly offset?: number;
    }
  /** Of the socket that the packet is for: whether it is bound to no address. No value where there is no such socket. */
  | { readonly kind: 'socket'; readonly key: 'wildcard' }
  | { readonly kind: 'tcp-flags' }
  /** What routing says of an address: its type; with `link`, as seen from the link that the packet leaves by. */
  | { readonly kind: 'fib'; readonly address: 'saddr' | 'daddr'; readonly link?: 'oif'; readonly result: 'type' }
  | { readonly kind: 'concat'; readonly parts: readonly Expr[] }
  | { readonly kind: 'lookup'; readonly key: Expr; readonly map: string }
  | { readonly kind: 'address'; readonly value: Ip | Cidr }
  | { readonly kind: 'number'; readonly value: number }
  /** 32 bits as nft writes a class of packets. */
  | { readonly kind: 'class'; readonly value: number }
  | { readonly kind: 'range'; readonly from: number; readonly to: number }
  | {
      readonly kind: 'word';
      readonly value: L4Protocol | 'new' | 'established' | 'related' | 'local' | 'dnat' | 'syn' | 'ack';
    }
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'anyOf'; readonly values: readonly Expr[] }
  | { readonly kind: 'set'; readonly name: string };

/** Where a packet goes next. */
export type Verdict =
  | { readonly verdict: 'accept' | 'drop' | 'return' }
  | { readonly verdict: 'goto' | 'jump'; readonly chain: string };

/** One step of a rule (`has`: this flag among others); the steps of a rule run from left to right until one does not match. */
export type Statement =
  | { readonly do: 'match'; readonly left: Expr; readonly op: '==' | '!=' | 'has'; readonly right: Expr }
  | { readonly do: 'verdict'; readonly to: Verdict }
  | { readonly do: 'vmap'; readonly key: Expr; readonly map: string }
  | { readonly do: 'dnat'; readonly family: 'ip' | 'ip6'; readonly to: Expr }
  | { readonly do: 'masquerade' }
  /** The packet belongs to no connection: it is not tracked, and so not translated. Before priority -200 only. */
  | { readonly do: 'notrack' }
  | { readonly do: 'mark'; readonly value: Expr }
  /** The packet's class, which a rule can keep a number in for rules after it. */
  | { readonly do: 'priority'; readonly value: Expr }
  /** Into which class of the outgoing interface's queue the packet goes: 1:MINOR. */
  | { readonly do: 'class'; readonly minor: number }
  | {
      readonly do: 'update';
      readonly map: string;
      readonly key: Expr;
      readonly timeoutSeconds: number;
      /** Of a map. */
      readonly value?: Expr;
    }
  | { readonly do: 'reject'; readonly with: 'tcp reset' | 'icmp port-unreachable' | 'icmpv6 port-unreachable' };

export interface Rule {
  readonly statements: readonly Statement[];
  /** The object that caused the rule. */
  readonly comment?: string;
}

/** What makes a chain a base chain: when the kernel calls it. */
export interface Hook {
  readonly type: 'nat' | 'filter';
  readonly hook: 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';
  readonly priority: number;
}

export interface Chain {
  readonly name: string;
  readonly hook?: Hook;
  readonly rules: readonly Rule[];
}

/** A set, or a map where `value` is there. Its type is that of the expressions in `key` and `value`. */
export interface SetDefinition {
  readonly name: string;
  readonly key: readonly Expr[];
  readonly value?: 'verdict' | readonly Expr[];
  /** Elements are ranges. */
  readonly interval?: boolean;
  /** Each element counts the packets that met it. */
  readonly counter?: boolean;
  /** Filled by rules as packets come, up to this number of elements, each with a timeout. */
  readonly dynamicSize?: number;
  /** Elements that are added may have a lifetime of their own. */
  readonly timeout?: boolean;
}

declare const elementText: unique symbol;
/** The key or the value of an element, already rendered: equal text means an equal element. */
export type ElementText = string & { readonly [elementText]: true };

export interface Element {
  readonly set: string;
  readonly key: ElementText;
  readonly value?: ElementText;
  readonly comment?: string;
  /** For an element of a dynamic set: how long it lives after each use, and how long still, in seconds. */
  readonly lifetime?: { readonly timeout: number; readonly expires: number };
}

/** Elements of a map whose keys are equal but for a number at their end, which counts up from `first`. */
export interface ElementRun {
  readonly set: string;
  /** The key without its last part. */
  readonly prefix: ElementText;
  readonly first: number;
  readonly values: readonly ElementText[];
}

/** The elements that a run stands for; an element stands for itself. */
export function elementsOf(given: Element | ElementRun): Element[] {
  if (!('values' in given)) return [given];
  return given.values.map((value, index) => ({ set: given.set, key: runKey(given, index), value }));
}

/** An element as nft shows it, without its comment: `10.96.0.1 . tcp . 80 : goto tcp-n3`. */
export const describeElement = ({ key, value }: Element): string => (value === undefined ? key : `${key} : ${value}`);

const runKey = ({ prefix, first }: ElementRun, index: number): ElementText =>
  `${prefix} . ${whole(first + index)}` as ElementText;

/** A value that user-written or wire data gave and that the language of nft could not carry safely. */
export class NftSyntaxError extends Error {
  override readonly name = 'NftSyntaxError';
}

const namePattern = /^[a-z][a-z0-9-]{0,63}$/;
const addressPattern = /^[0-9a-f:.]+(\/\d{1,3})?$/;
const commentPattern = /^[A-Za-z0-9 _./:,#()-]{1,120}$/;
const textPattern = /^[A-Za-z0-9_.-]{1,15}$/;

const checked = (pattern: RegExp, what: string, value: string): string => {
  if (!pattern.test(value)) throw new NftSyntaxError(`${JSON.stringify(value)} cannot be ${what} in nftables`);
  return value;
};
const name = (value: string): string => checked(namePattern, 'a name', value);
const whole = (value: number): string => {
  if (!Number.isInteger(value) || value < 0 || value > 0xffffffff)
    throw new NftSyntaxError(`${value} is not a whole number of 32 bits`);
  return String(value);
};

const offsetOf = ({ offset }: { readonly offset?: number }): string => (offset ? ` offset ${whole(offset)}` : '');

function renderExpr(expr: Expr): string {
  switch (expr.kind) {
    case 'payload':
      return `${expr.header} ${expr.field}`;
    case 'meta':
      return `meta ${expr.key}`;
    case 'ct':
      return `ct ${expr.key}`;
    case 'ct-original':
      return `ct original ${expr.key}`;
    case 'random':
      return `numgen random mod ${whole(expr.modulus)}${offsetOf(expr)}`;
    case 'hash':
      return `jhash ${renderExpr(expr.of)} mod ${whole(expr.modulus ?? 0xffffffff)} seed ${whole(expr.seed)}${offsetOf(expr)}`;
    case 'socket':
      return `socket ${expr.key}`;
    case 'tcp-flags':
      return 'tcp flags';
    case 'fib':
      return `fib ${expr.address}${expr.link === undefined ? '' : ` . ${expr.link}`} ${expr.result}`;
    case 'concat':
      return expr.parts.map(renderExpr).join(' . ');
    case 'lookup':
      return `${renderExpr(expr.key)} map @${name(expr.map)}`;
    case 'address':
      return checked(addressPattern, 'an address', expr.value);
    case 'number':
      return whole(expr.value);
    case 'class':
      return classText(expr.value);
    case 'range':
      return `${whole(expr.from)}-${whole(expr.to)}`;
    case 'word':
      return expr.value;
    case 'text':
      return `"${checked(textPattern, 'an interface name', expr.value)}"`;
    case 'anyOf':
      return `{ ${expr.values.map(renderExpr).join(', ')} }`;
    case 'set':
      return `@${name(expr.name)}`;
  }
}

function renderVerdict(to: Verdict): string {
  return 'chain' in to ? `${to.verdict} ${name(to.chain)}` : to.verdict;
}

function renderStatement(statement: Statement): string {
  switch (statement.do) {
    case 'match':
      // Without an operator nft tests a flag among others; `==` would want it to be the only one.
      return `${renderExpr(statement.left)} ${statement.op === 'has' ? '' : `${statement.op} `}${renderExpr(statement.right)}`;
    case 'verdict':
      return renderVerdict(statement.to);
    case 'vmap':
      return `${renderExpr(statement.key)} vmap @${name(statement.map)}`;
    case 'dnat':
      return `dnat ${statement.family} to ${renderExpr(statement.to)}`;
    case 'masquerade':
      return 'masquerade fully-random';
    case 'notrack':
      return 'notrack';
    case 'mark':
      return `meta mark set ${renderExpr(statement.value)}`;
    case 'priority':
      return `meta priority set ${renderExpr(statement.value)}`;
    case 'class':
      // Numbers of classes are read as hexadecimal.
      return `meta priority set 1:${Number(whole(statement.minor)).toString(16)}`;
    case 'update':
      return `update @${name(statement.map)} { ${renderExpr(statement.key)} timeout ${whole(statement.timeoutSeconds)}s${statement.value === undefined ? '' : ` : ${renderExpr(statement.value)}`} }`;
    case 'reject':
      return `reject with ${statement.with}`;
  }
}

export function renderRule(rule: Rule): string {
  const comment = rule.comment === undefined ? '' : ` comment "${checkedComment(rule.comment)}"`;
  return rule.statements.map(renderStatement).join(' ') + comment;
}

/** The comment itself; throws an NftSyntaxError where nftables' tools could not show it. */
export const checkedComment = (comment: string): string => checked(commentPattern, 'a comment', comment);

/** A text as a comment can carry it: cut to its length, with `_` for characters that it cannot have. */
export function commentOf(text: string): string {
  return text.replace(/[^A-Za-z0-9 _./:,#()-]/g, '_').slice(0, 120);
}

/** Classes of packets are written in two halves, as hexadecimal numbers. */
const classText = (value: number): string =>
  `${(Number(whole(value)) >>> 16).toString(16)}:${(value & 0xffff).toString(16)}`;

export type KeyPart = Ip | Cidr | L4Protocol | number | { readonly interface: string } | { readonly class: number };

/** The key of an element: its parts are addresses, ranges, protocols, numbers, interfaces and classes. */
export function elementKey(...parts: readonly KeyPart[]): ElementText {
  return parts
    .map((part) => {
      if (typeof part === 'number') return whole(part);
      if (typeof part === 'object' && 'class' in part) return classText(part.class);
      if (typeof part === 'object') return `"${checked(textPattern, 'an interface name', part.interface)}"`;
      return part === 'tcp' || part === 'udp' || part === 'sctp' ? part : checked(addressPattern, 'an address', part);
    })
    .join(' . ') as ElementText;
}

/** The value of an element of a verdict map. */
export function elementVerdict(to: Verdict): ElementText {
  return renderVerdict(to) as ElementText;
}

function renderSet({ family, name: table }: TableName, set: SetDefinition): string {
  const flags = [
    ...(set.interval ? ['interval'] : []),
    ...(set.dynamicSize === undefined ? [] : ['dynamic']),
    ...(set.dynamicSize === undefined && set.timeout !== true ? [] : ['timeout']),
  ];
  const parts = [...set.key, ...(set.value === undefined || set.value === 'verdict' ? [] : set.value)];
  // nft 1.0.6 cannot use a map in a later transaction when it was declared by `typeof` with a port of any protocol
  // ("conflicting protocols specified"): types by name where there are names, which a random number has not.
  const named = parts.every((part) => typeName(part) !== undefined);
  // It writes `typeof` a hash, too, and cannot read it again; another number of 32 bits stands for it.
  const typeOf = (part: Expr): string => renderExpr(part.kind === 'hash' ? { kind: 'random', modulus: 65_536 } : part);
  const render = (part: Expr): string => (named ? (typeName(part) ?? '') : typeOf(part));
  const key = set.key.map(render).join(' . ');
  const value = set.value === 'verdict' ? 'verdict' : (set.value ?? []).map(render).join(' . ');
  return [
    `add ${set.value === undefined ? 'set' : 'map'} ${family} ${name(table)} ${name(set.name)}`,
    `{ ${named ? 'type' : 'typeof'} ${key}${value === '' ? '' : ` : ${value}`};`,
    flags.length > 0 ? `flags ${flags.join(',')};` : '',
    set.dynamicSize === undefined ? '' : `size ${whole(set.dynamicSize)};`,
    set.counter ? 'counter;' : '',
    '}',
  ]
    .filter((part) => part !== '')
    .join(' ');
}

/** nft's name of the type of an expression, where it has one. */
function typeName(expr: Expr): string | undefined {
  switch (expr.kind) {
    case 'payload':
      if (expr.header === 'ip' || expr.header === 'arp') return 'ipv4_addr';
      return expr.header === 'ip6' ? 'ipv6_addr' : 'inet_service';
    case 'meta':
      return { l4proto: 'inet_proto', mark: 'mark', priority: 'classid', iifname: 'ifname', oifname: 'ifname' }[
        expr.key
      ];
    default:
      return undefined;
  }
}

function renderChain({ family, name: table }: TableName, chain: Chain): string {
  const hook =
    chain.hook === undefined
      ? ''
      : ` { type ${chain.hook.type} hook ${chain.hook.hook} priority ${chain.hook.priority}; policy accept; }`;
  return `add chain ${family} ${name(table)} ${name(chain.name)}${hook}`;
}

/** What one transaction does to a table; the kernel takes all of it or nothing. */
export interface Change {
  /** Everything that the table held goes first. */
  readonly replace?: { readonly sets: readonly SetDefinition[] };
  readonly chains: readonly Chain[];
  /** Sets and maps that lose all elements first. */
  readonly flushed?: readonly string[];
  readonly removed: readonly Element[];
  readonly added: readonly Element[];
  readonly addedRuns?: readonly ElementRun[];
  /** Chains that nothing refers to any more but one another. */
  readonly removedChains?: readonly string[];
}

/** The transaction as text for `nft -f -`. Definitions come before what refers to them. */
export function renderChange(table: TableName, change: Change): string {
  const id = `${table.family} ${name(table.name)}`;
  const lines: string[] = [];
  if (change.replace !== undefined) {
    // The first line makes the second one valid when there is no table yet.
    lines.push(`add table ${id}`, `delete table ${id}`, `add table ${id}`);
    for (const set of change.replace.sets) lines.push(renderSet(table, set));
  }
  for (const chain of change.chains) lines.push(renderChain(table, chain));
  for (const chain of change.chains)
    for (const rule of chain.rules) lines.push(`add rule ${id} ${name(chain.name)} ${renderRule(rule)}`);
  for (const set of change.flushed ?? []) lines.push(`flush set ${id} ${name(set)}`);
  lines.push(...renderElements('delete', id, change.removed), ...renderElements('add', id, change.added));
  lines.push(...renderRuns(id, change.addedRuns ?? []));
  for (const verb of ['flush', 'delete'])
    for (const chain of change.removedChains ?? []) lines.push(`${verb} chain ${id} ${name(chain)}`);
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function renderElements(verb: 'add' | 'delete', table: string, elements: readonly Element[]): string[] {
  const bySet = new Map<string, string[]>();
  for (const element of elements) {
    const texts = bySet.get(element.set) ?? [];
    if (texts.length === 0) bySet.set(element.set, texts);
    const comment =
      verb === 'add' && element.comment !== undefined ? ` comment "${checkedComment(element.comment)}"` : '';
    const lifetime =
      element.lifetime === undefined
        ? ''
        : ` timeout ${whole(element.lifetime.timeout)}s expires ${whole(element.lifetime.expires)}s`;
    texts.push(`${element.key}${lifetime}${comment}${element.value === undefined ? '' : ` : ${element.value}`}`);
  }
  return [...bySet].map(([set, texts]) => `${verb} element ${table} ${name(set)} { ${texts.join(', ')} }`);
}

function renderRuns(table: string, runs: readonly ElementRun[]): string[] {
  const bySet = new Map<string, string[]>();
  for (const run of runs) {
    const texts = bySet.get(run.set) ?? [];
    if (texts.length === 0) bySet.set(run.set, texts);
    for (const [index, value] of run.values.entries()) texts.push(`${runKey(run, index)} : ${value}`);
  }
  return [...bySet].map(([set, texts]) => `add element ${table} ${name(set)} { ${texts.join(', ')} }`);
}
