// Session affinity by client address in nftables, over all ports and addresses of a Service. Pure.
//
//   affinity: (client, Service) -> mark of an endpoint; the mark means the same pod whatever port it is asked on.
//
// The Service is known by a number that is kept in the packet's class while it passes the chains here: a rule can look
// up and update a map only by what the packet carries. Both are cleared before the packet leaves them.
import type { Chain, Expr, SetDefinition, Statement } from '../../linux/nft.ts';
import { type Family, type Ip, ipToBigInt } from '../../net/address.ts';
import { type Backend, backendKey } from '../service-port.ts';
import { address, anyIndex, concat, dnat, frontendParts, goto, mark, number, rule, to } from './expressions.ts';
import { hash } from './slots.ts';

// Marks of session affinity: this byte, then 24 bits that name a pod.
const markBase = 0x57_00_00_00;
export const affinityMarkRange: Expr = { kind: 'range', from: markBase, to: markBase + 0xff_ff_ff };

const service: Expr = { kind: 'meta', key: 'priority' };

/**
 * A client of a Service. nft 1.0.6 ends with a failed assertion where a rule updates a map whose key is a concatenation
 * of more than 16 bytes: in IPv6 a client is 64 bits of two hashes. Clients that share them, which chance does not bring
 * about, would share an endpoint.
 */
function clientKey(family: Family): Expr[] {
  const client = address(family, 'saddr');
  if (family === 'IPv4') return [client, service];
  return [...[1, 2].map((seed): Expr => ({ kind: 'hash', of: client, seed })), service];
}

export function affinitySets(family: Family): SetDefinition[] {
  const frontend = frontendParts(family);
  return [
    { name: 'affinity-services', key: frontend, value: [service] },
    { name: 'affinity', key: clientKey(family), value: [mark], dynamicSize: 262_144 },
    // Which endpoint a client may go on with: under a policy Local another one for clients from outside.
    { name: 'remembered', key: [...frontend, mark], value: 'verdict' },
    { name: 'outside-remembered', key: [...frontend, mark], value: 'verdict' },
    { name: 'choices', key: [...frontend, anyIndex], value: [mark] },
    { name: 'slots', key: [...frontend, mark], value: [address(family, 'daddr'), frontend[2] ?? anyIndex] },
  ];
}

/** The number of a Service: its cluster address, or the last 32 bits of it, which no other Service of the family has. */
export function serviceNumber(clusterIp: Ip): number {
  return Number(ipToBigInt(clusterIp) & 0xffffffffn);
}

/**
 * The endpoint that the client had before while it is still there, otherwise one of the choices by `index`. A remembered
 * endpoint is named by its mark, which depends on nothing but itself: it goes on meaning the same one when others come
 * and go, and after a restart of the proxy.
 */
export function affinityChain(
  family: Family,
  index: Expr,
  { name, isOutside, remember }: { readonly name: string; readonly isOutside: boolean; readonly remember: string },
): Chain {
  const frontend = frontendParts(family);
  const lookup = (key: readonly Expr[], map: string): Expr => ({ kind: 'lookup', key: concat(...key), map });
  const remembered = isOutside ? 'outside-remembered' : 'remembered';
  return {
    name,
    rules: [
      rule({ do: 'priority', value: lookup(frontend, 'affinity-services') }),
      rule({ do: 'mark', value: number(0) }),
      rule({ do: 'mark', value: lookup(clientKey(family), 'affinity') }),
      rule({ do: 'vmap', key: concat(...frontend, mark), map: remembered }),
      rule({ do: 'mark', value: lookup([...frontend, index], 'choices') }),
      rule(to(goto(remember))),
    ],
  };
}

/** Notes the endpoint in the mark as the client's for so many seconds from now, and goes there. */
export function rememberChain(family: Family, seconds: number): Chain {
  const update: Statement = {
    do: 'update',
    map: 'affinity',
    key: concat(...clientKey(family)),
    timeoutSeconds: seconds,
    value: mark,
  };
  return {
    name: `remember-${seconds}`,
    rules: [
      rule(update),
      rule({ do: 'priority', value: { kind: 'class', value: 0 } }),
      rule(dnat(family, { kind: 'lookup', key: concat(...frontendParts(family), mark), map: 'slots' })),
    ],
  };
}

/**
 * A mark for each address of a Service's endpoints: its hash; where two are equal, the later one by name takes the next
 * free. An address that answers a port of the Service at several ports has one more mark for each.
 */
export class AffinityMarks {
  readonly #marks = new Map<string, number>();

  constructor(backends: Iterable<Pick<Backend, 'ip' | 'port'>>) {
    const names = new Set<string>();
    for (const { ip } of backends) names.add(ip);
    const taken = new Set<number>();
    for (const name of [...names].sort()) {
      let value = hash(name) & 0xff_ff_ff;
      while (taken.has(value)) value = (value + 1) & 0xff_ff_ff;
      taken.add(value);
      this.#marks.set(name, markBase + value);
    }
  }

  /** By the names of backendKey, the marks of all endpoints of one port. */
  of(backends: readonly Pick<Backend, 'ip' | 'port'>[]): Map<string, number> {
    const taken = new Set<number>();
    const marks = new Map<string, number>();
    for (const backend of backends) {
      let value = this.#marks.get(backend.ip) ?? markBase;
      while (taken.has(value)) value = markBase + ((value + 1) & 0xff_ff_ff);
      taken.add(value);
      marks.set(backendKey(backend), value);
    }
    return marks;
  }
}
