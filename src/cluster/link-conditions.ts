// What is set on the links between nodes for tests and for learning: cut, lossy, slow; and the rules that make it so. Pure.
import type { Chain, Rule, Statement } from '../linux/nft.ts';
import type { TrafficClass } from '../linux/shaping.ts';
import type { ClusterLayout } from './layout.ts';
import { SettingsError } from './settings-error.ts';

/** Where a cable of the underlay ends: a node's port of its bridge, or the router's. */
export interface End {
  /** As the user calls it: the node's name, or `router`. */
  readonly name: string;
  readonly port: string;
  readonly segment: number;
}

/** What is set between two ends, in both directions. */
export interface Condition {
  readonly cut?: true;
  /** So many of a hundred packets are lost. */
  readonly lossPercent?: number;
  /** Bits a second, in each direction. */
  readonly rate?: number;
  /** In each direction. */
  readonly delayMs?: number;
}

export interface LinkCondition extends Condition {
  /** The names of the two ends, sorted. */
  readonly between: readonly [string, string];
}

/** All ends of cables of a cluster. */
export function endsOf(layout: ClusterLayout): End[] {
  return [
    ...layout.nodes.map(({ name, role, segment }) => ({ name, port: role, segment })),
    ...layout.segments.map(({ routerPort }, segment) => ({ name: 'router', port: routerPort, segment })),
  ];
}

/**
 * The pairs of ends that are meant: two named ones, or one with every other on its subnet. Throws an Error for a name
 * that is not there and for two that no cable joins.
 */
export function pairsOf(layout: ClusterLayout, first: string, second?: string): [End, End][] {
  const ends = endsOf(layout);
  const named = (which: string): End[] => {
    const found = ends.filter(({ name, port }) => name === which || (port === which && name !== 'router'));
    if (found.length > 0) return found;
    const names = [...new Set(ends.map(({ name }) => name))];
    throw new Error(`there is no '${which}' between the nodes; there are ${names.join(', ')}`);
  };
  const others = second === undefined ? ends : named(second);
  const pairs = named(first).flatMap((one) =>
    others
      .filter((other) => other.port !== one.port && other.segment === one.segment)
      .map((other): [End, End] => [one, other]),
  );
  if (pairs.length === 0)
    throw new Error(
      second === undefined || first === second
        ? `there is no link from '${first}' to another one on its subnet`
        : `'${first}' and '${second}' are on different subnets: what joins each of them is 'router'`,
    );
  return pairs;
}

/** The conditions with those of these pairs changed by `change`; one that says nothing any more goes. */
export function changeConditions(
  conditions: readonly LinkCondition[],
  pairs: readonly (readonly [End, End])[],
  change: (before: Condition) => Condition,
): LinkCondition[] {
  const all = new Map(conditions.map((condition) => [condition.between.join(' '), condition]));
  for (const [a, b] of pairs) {
    const between: [string, string] = a.name < b.name ? [a.name, b.name] : [b.name, a.name];
    const { between: _, ...before } = all.get(between.join(' ')) ?? { between };
    const after = change(before);
    if (Object.values(after).every((value) => value === undefined)) all.delete(between.join(' '));
    else all.set(between.join(' '), { between, ...after });
  }
  return [...all.values()].sort((a, b) => (a.between.join(' ') < b.between.join(' ') ? -1 : 1));
}

export interface ConditionPlan {
  /** The chains of the table `bridge weft-links` in the underlay's namespace. */
  readonly chains: readonly Chain[];
  /** The classes of each port; ports without any have their default queue. */
  readonly classes: ReadonlyMap<string, readonly TrafficClass[]>;
}

export const linksTable = { family: 'bridge', name: 'weft-links' } as const;

/** What the underlay's namespace has to hold. Conditions of ends that are gone are left out. */
export function planConditions(layout: ClusterLayout, conditions: readonly LinkCondition[]): ConditionPlan {
  const ends = endsOf(layout);
  const rules: Rule[] = [];
  const classes = new Map<string, TrafficClass[]>(ends.map(({ port }) => [port, []]));
  for (const { between, cut, lossPercent, rate, delayMs } of conditions) {
    const comment = `between ${between.join(' and ')}`;
    for (const [from, to] of directions(ends, between)) {
      const way: Statement[] = [port('iifname', from.port), port('oifname', to.port)];
      const drop: Statement = { do: 'verdict', to: { verdict: 'drop' } };
      if (cut) rules.push({ statements: [...way, drop], comment });
      if (lossPercent !== undefined) rules.push({ statements: [...way, chance(lossPercent), drop], comment });
      if (rate === undefined && delayMs === undefined) continue;
      const list = classes.get(to.port) ?? [];
      // Each class has an inner queue whose number is one more than its own: two apart.
      const minor = 2 * (list.length + 1);
      list.push({ minor, ...(rate !== undefined && { rate }), ...(delayMs !== undefined && { delayMs }) });
      rules.push({ statements: [...way, { do: 'class', minor }], comment });
    }
  }
  // That of filters on bridges (NF_BR_PRI_FILTER_BRIDGED). br_netfilter's own is 0, and where it is loaded Linux
  // leaves out all others that have 0 too (seen with 6.1).
  const hook = { type: 'filter', hook: 'forward', priority: -200 } as const;
  return { chains: [{ name: 'forward', hook, rules }], classes };
}

function directions(ends: readonly End[], [a, b]: readonly [string, string]): [End, End][] {
  const all = (name: string): End[] => ends.filter((end) => end.name === name);
  return all(a).flatMap((one) =>
    all(b)
      .filter((other) => other.segment === one.segment)
      .flatMap((other): [End, End][] => [
        [one, other],
        [other, one],
      ]),
  );
}

const port = (key: 'iifname' | 'oifname', value: string): Statement => ({
  do: 'match',
  left: { kind: 'meta', key },
  op: '==',
  right: { kind: 'text', value },
});

const chance = (percent: number): Statement => ({
  do: 'match',
  left: { kind: 'random', modulus: 100 },
  op: '==',
  right: { kind: 'range', from: 0, to: percent - 1 },
});

const factors: Record<string, number> = { bit: 1, kbit: 1e3, mbit: 1e6, gbit: 1e9 };

/** `10mbit` in bits a second. Throws a SettingsError for what is no rate from 8 kbit to 100 gbit. */
export function parseRate(text: string): number {
  const [, number = '', unit = ''] = /^(\d{1,9})(bit|kbit|mbit|gbit)$/.exec(text.toLowerCase()) ?? [];
  const rate = Number(number) * (factors[unit] ?? Number.NaN);
  if (rate >= 8_000 && rate <= 100e9) return rate;
  throw new SettingsError(`--rate '${text}': must be from 8kbit to 100gbit, such as 10mbit`);
}

/** `50ms` or `2s` in ms. Throws a SettingsError for what is no time from 1 ms to 60 s. */
export function parseDelay(text: string): number {
  const [, number = '', unit] = /^(\d{1,5})(ms|s)$/.exec(text) ?? [];
  const ms = number === '' ? Number.NaN : Number(number) * (unit === 's' ? 1000 : 1);
  if (ms >= 1 && ms <= 60_000) return ms;
  throw new SettingsError(`--delay '${text}': must be from 1ms to 60s, such as 50ms`);
}

/** `20` or `20%`. Throws a SettingsError for what is no whole number from 1 to 100. */
export function parseLoss(text: string): number {
  const percent = /^\d{1,3}%?$/.test(text) ? Number.parseInt(text, 10) : Number.NaN;
  if (percent >= 1 && percent <= 100) return percent;
  throw new SettingsError(`--loss '${text}': must be from 1 to 100 percent`);
}

/** `cut`, `10 Mbit/s, 50 ms, 20 % lost`. */
export function describeCondition({ cut, lossPercent, rate, delayMs }: Condition): string {
  const parts = [
    ...(cut ? ['cut'] : []),
    ...(rate === undefined ? [] : [`${rate / 1e6} Mbit/s`]),
    ...(delayMs === undefined ? [] : [`${delayMs} ms later`]),
    ...(lossPercent === undefined ? [] : [`${lossPercent} % lost`]),
  ];
  return parts.join(', ');
}
