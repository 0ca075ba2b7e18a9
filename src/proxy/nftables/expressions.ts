// Short names for the expressions and statements that the proxy's table is made of. Pure.
import type { Expr, L4Protocol, Rule, Statement, Verdict } from '../../linux/nft.ts';
import type { Family } from '../../net/address.ts';

export const address = (family: Family, field: 'saddr' | 'daddr'): Expr => ({
  kind: 'payload',
  header: family === 'IPv4' ? 'ip' : 'ip6',
  field,
});
export const protocolExpr: Expr = { kind: 'meta', key: 'l4proto' };
const portExpr: Expr = { kind: 'payload', header: 'th', field: 'dport' };
export const portOf = (protocol: L4Protocol): Expr => ({ kind: 'payload', header: protocol, field: 'dport' });
export const mark: Expr = { kind: 'meta', key: 'mark' };
/** Stands for the type of every index in a table of slots. */
export const anyIndex: Expr = { kind: 'random', modulus: 65_536 };

/** The parts of a packet that name a frontend. */
export const frontendParts = (family: Family): Expr[] => [address(family, 'daddr'), protocolExpr, portExpr];

export const number = (value: number): Expr => ({ kind: 'number', value });
export const concat = (...parts: readonly Expr[]): Expr => ({ kind: 'concat', parts });
export const match = (left: Expr, right: Expr, op: '==' | '!=' | 'has' = '=='): Statement => ({
  do: 'match',
  left,
  op,
  right,
});
export const to = (verdict: Verdict): Statement => ({ do: 'verdict', to: verdict });
export const goto = (chain: string): Verdict => ({ verdict: 'goto', chain });
export const rule = (...statements: readonly Statement[]): Rule => ({ statements });
export const dnat = (family: Family, target: Expr): Statement => ({
  do: 'dnat',
  family: family === 'IPv4' ? 'ip' : 'ip6',
  to: target,
});
