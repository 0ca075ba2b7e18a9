// Rules of the routing policy (which table is asked for which source) through rtnetlink (linux/fib_rules.h).
import { addressAt, asCidr, type Cidr, rangeOf } from '../net/address.ts';
import { addressFamily, ipBytes, ipFromBytes } from './addresses.ts';
import { failedWith } from './libc.ts';
import { attribute, flag, isGone, type Message, type Netlink, parseAttributes, u8, u32 } from './netlink.ts';

export const RTM_NEWRULE = 32;
export const RTM_DELRULE = 33;
const RTM_GETRULE = 34;
const FRA = { src: 2, priority: 6, table: 15, protocol: 21 };
const FR_ACT_TO_TBL = 1;

/** Packets from a range are looked up in a table; where it has no route for them, the next rule decides. */
export interface RoutingRule {
  readonly from: Cidr;
  readonly table: number;
  /** Rules are asked in this order; the main table has 32766. */
  readonly priority: number;
  /** Who made it, as the protocol of a route. */
  readonly protocol: number;
}

function request(rule: RoutingRule): { body: Buffer; attributes: Buffer[] } {
  const range = rangeOf(rule.from);
  const body = Buffer.alloc(12);
  body.writeUInt8(addressFamily(range.family), 0);
  body.writeUInt8(range.prefix, 2);
  body.writeUInt8(rule.table < 256 ? rule.table : 0, 4);
  body.writeUInt8(FR_ACT_TO_TBL, 7);
  const attributes = [
    attribute(FRA.src, ipBytes(addressAt(rule.from, 0))),
    u32(FRA.priority, rule.priority),
    u32(FRA.table, rule.table),
    u8(FRA.protocol, rule.protocol),
  ];
  return { body, attributes };
}

const describe = ({ from, table }: RoutingRule): string => `from ${from} lookup ${table}`;

/** Adds a rule; does nothing where it is there. */
export function addRule(nl: Netlink, rule: RoutingRule): void {
  try {
    const what = `adding the rule ${describe(rule)}`;
    nl.request({ type: RTM_NEWRULE, flags: flag.create | flag.exclusive, ...request(rule), what });
  } catch (error) {
    if (!failedWith(error, 'EEXIST')) throw error;
  }
}

/** Deletes a rule. False where there was no such one. */
export function deleteRule(nl: Netlink, rule: RoutingRule): boolean {
  try {
    nl.request({ type: RTM_DELRULE, ...request(rule), what: `deleting the rule ${describe(rule)}` });
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** The rules that this protocol number made. */
export function listRules(nl: Netlink, protocol: number): RoutingRule[] {
  const answers = nl.dump({ type: RTM_GETRULE, body: Buffer.alloc(12), what: 'listing the routing rules' });
  return answers.flatMap((message) => parseRule(message) ?? []).filter((rule) => rule.protocol === protocol);
}

/** The rule of an RTM_NEWRULE or RTM_DELRULE message; undefined where it is not one of those that Weft makes. */
export function parseRule({ body }: Message): RoutingRule | undefined {
  const found = parseAttributes(body.subarray(12));
  const source = found.get(FRA.src);
  if ((source?.length !== 4 && source?.length !== 16) || body.readUInt8(7) !== FR_ACT_TO_TBL) return undefined;
  return {
    from: asCidr(`${ipFromBytes(source)}/${body.readUInt8(2)}`),
    table: found.get(FRA.table)?.readUInt32LE() ?? body.readUInt8(4),
    priority: found.get(FRA.priority)?.readUInt32LE() ?? 0,
    protocol: found.get(FRA.protocol)?.readUInt8() ?? 0,
  };
}
