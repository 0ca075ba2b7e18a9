// Decides the nftables table of the proxy: a constant number of maps, everything else is elements. Pure.
//
//   dispatch:  (daddr, protocol, port) -> services -> goto tcp-n3: one of 3 -> endpoints-tcp (…, index) -> dnat
//
// There is one chain for each NUMBER of endpoints in use with a protocol, so that another Service is a few elements and no rule.
// Masquerading is decided after the translation by the address that the connection was first sent to: no mark is used
// that other software could use too. (Session affinity carries a mark within one chain and clears it afterwards.)
import type {
  Chain,
  Element,
  ElementText,
  Expr,
  L4Protocol,
  Rule,
  SetDefinition,
  Statement,
  Verdict,
} from '../../linux/nft.ts';
import { commentOf, elementKey, elementVerdict, foldRuns } from '../../linux/nft.ts';
import type { Contribution, TableSchema } from '../../linux/nft-table.ts';
import { type Cidr, type Family, familyOf, type Ip, rangeOf } from '../../net/address.ts';
import { type Backend, backendKey, serviceAddressKey } from '../service-port.ts';
import type { ProxyFacts } from '../writer.ts';
import type { Choice, Frontend, SourceNat } from './frontend.ts';

/** The name of the proxy's tables, `ip weft-proxy` and `ip6 weft-proxy`. */
const tableName = 'weft-proxy';

// What clients from outside choose from starts at this index, beside what everybody chooses from.
const outsideOffset = 32_768;
const maximumBackends = 32_767;
// Marks of session affinity: this byte, then 24 bits that name an endpoint.
const markBase = 0x57_00_00_00;

const address = (family: Family, field: 'saddr' | 'daddr'): Expr => ({
  kind: 'payload',
  header: family === 'IPv4' ? 'ip' : 'ip6',
  field,
});
const protocolExpr: Expr = { kind: 'meta', key: 'l4proto' };
const portExpr: Expr = { kind: 'payload', header: 'th', field: 'dport' };
const transports = ['tcp', 'udp', 'sctp'] as const satisfies readonly L4Protocol[];
const portOf = (protocol: L4Protocol): Expr => ({ kind: 'payload', header: protocol, field: 'dport' });
const mark: Expr = { kind: 'meta', key: 'mark' };
const anyIndex: Expr = { kind: 'random', modulus: 65_536 };
const number = (value: number): Expr => ({ kind: 'number', value });
const concat = (...parts: readonly Expr[]): Expr => ({ kind: 'concat', parts });
const match = (left: Expr, right: Expr, op: '==' | '!=' | 'has' = '=='): Statement => ({
  do: 'match',
  left,
  op,
  right,
});
const to = (verdict: Verdict): Statement => ({ do: 'verdict', to: verdict });
const goto = (chain: string): Verdict => ({ verdict: 'goto', chain });
const rule = (...statements: readonly Statement[]): Rule => ({ statements });

/** The parts of a packet that name a frontend. */
const frontendParts = (family: Family): Expr[] => [address(family, 'daddr'), protocolExpr, portExpr];

/**
 * A client of a frontend. nft 1.0.6 ends with a failed assertion where a rule updates a map whose key is a concatenation
 * of more than 16 bytes: in IPv6 it is 64 bits of two hashes. Clients that share them, which chance does not bring
 * about, would share an endpoint.
 */
function affinityKey(family: Family): Expr[] {
  const client = [address(family, 'saddr'), ...frontendParts(family)];
  if (family === 'IPv4') return client;
  return [1, 2].map((seed) => ({ kind: 'hash', of: concat(...client), seed }));
}

/** The table as it is before any Service: its maps, and the chains that are always there. */
export function proxyTable(family: Family, clusterCidrs: readonly Cidr[]): TableSchema {
  const pods = clusterCidrs.filter((range) => familyOf(range) === family);
  return {
    family: family === 'IPv4' ? 'ip' : 'ip6',
    name: tableName,
    sets: sets(family),
    chains: [...endings(family, pods), ...dispatch(family, pods), ...hooks(family)],
  };
}

function sets(family: Family): SetDefinition[] {
  const frontend = frontendParts(family);
  const endpoint = [address(family, 'daddr'), portExpr];
  return [
    { name: 'cluster-ips', key: [address(family, 'daddr')] },
    { name: 'service-ranges', key: [address(family, 'daddr')], interval: true },
    { name: 'own-pods', key: [address(family, 'saddr')], interval: true },
    { name: 'services', key: frontend, value: 'verdict' },
    { name: 'outside-services', key: frontend, value: 'verdict' },
    ...transports.map((protocol) => ({
      name: `endpoints-${protocol}`,
      key: [address(family, 'daddr'), portOf(protocol), anyIndex],
      value: [address(family, 'daddr'), portOf(protocol)],
    })),
    { name: 'source-nat', key: frontend, value: 'verdict' },
    { name: 'hairpin', key: [address(family, 'saddr'), address(family, 'daddr')] },
    { name: 'guarded', key: frontend },
    { name: 'sources', key: [...frontend, address(family, 'saddr')], interval: true },
    { name: 'affinity', key: affinityKey(family), value: [mark], dynamicSize: 262_144 },
    { name: 'remembered', key: [...frontend, mark], value: 'verdict' },
    { name: 'choices', key: [...frontend, anyIndex], value: [mark] },
    { name: 'slots', key: [...frontend, mark], value: endpoint },
  ];
}

/** The chains that a connection ends in when it is not translated, and those that say whose source is translated. */
function endings(family: Family, pods: readonly Cidr[]): Chain[] {
  const unreachable = family === 'IPv4' ? 'icmp port-unreachable' : 'icmpv6 port-unreachable';
  const masquerade: Statement = { do: 'masquerade' };
  const saddr = address(family, 'saddr');
  return [
    {
      name: 'reject-new',
      rules: [
        // ICMP errors are limited to one a second for each destination; a reset always arrives.
        rule(match(protocolExpr, { kind: 'word', value: 'tcp' }), { do: 'reject', with: 'tcp reset' }),
        rule({ do: 'reject', with: unreachable }),
      ],
    },
    { name: 'drop-new', rules: [rule(to({ verdict: 'drop' }))] },
    { name: 'masquerade-everybody', rules: [rule(masquerade)] },
    {
      name: 'masquerade-outside',
      rules: pods.length === 0 ? [] : [rule(match(address(family, 'saddr'), anyOf(pods), '!='), masquerade)],
    },
    {
      name: 'masquerade-visitors',
      rules: [
        rule(fromNode('=='), masquerade),
        // A pod of another node came by that node's address: the answer must go back through this one.
        ...(pods.length === 0
          ? []
          : [rule(match(saddr, anyOf(pods)), match(saddr, { kind: 'set', name: 'own-pods' }, '!='), masquerade)]),
      ],
    },
  ];
}

const anyOf = (ranges: readonly Cidr[]): Expr => ({
  kind: 'anyOf',
  values: ranges.map((value): Expr => ({ kind: 'address', value })),
});

const fromNode = (op: '==' | '!='): Statement =>
  match({ kind: 'fib', address: 'saddr', result: 'type' }, { kind: 'word', value: 'local' }, op);

function dispatch(family: Family, pods: readonly Cidr[]): Chain[] {
  const key = concat(...frontendParts(family));
  const saddr = address(family, 'saddr');
  const fromOutside = pods.length === 0 ? [] : [match(saddr, anyOf(pods), '!=')];
  return [
    {
      name: 'dispatch',
      rules: [
        rule(
          match(key, { kind: 'set', name: 'guarded' }),
          match(concat(key, saddr), { kind: 'set', name: 'sources' }, '!='),
          to(goto('drop-new')),
        ),
        rule(...fromOutside, fromNode('!='), { do: 'vmap', key, map: 'outside-services' }),
        rule({ do: 'vmap', key, map: 'services' }),
        rule(match(address(family, 'daddr'), { kind: 'set', name: 'cluster-ips' }), to(goto('reject-new'))),
        // Nobody has the address: beyond this node it would go round between routers, or to someone who is not meant.
        rule(match(address(family, 'daddr'), { kind: 'set', name: 'service-ranges' }), to(goto('drop-new'))),
      ],
    },
  ];
}

/** The chains that the kernel calls; those of type nat see the first packet of each connection only. */
function hooks(family: Family): Chain[] {
  const header = family === 'IPv4' ? 'ip' : 'ip6';
  const first = concat({ kind: 'ct-original', key: `${header} daddr` }, protocolExpr, {
    kind: 'ct-original',
    key: 'proto-dst',
  });
  const anyTransport: Expr = { kind: 'anyOf', values: transports.map((value): Expr => ({ kind: 'word', value })) };
  const translated = match({ kind: 'ct', key: 'status' }, { kind: 'word', value: 'dnat' }, 'has');
  const fromTo = concat(address(family, 'saddr'), address(family, 'daddr'));
  return [
    {
      name: 'prerouting',
      hook: { type: 'nat', hook: 'prerouting', priority: -100 },
      rules: [rule(to(goto('dispatch')))],
    },
    { name: 'output', hook: { type: 'nat', hook: 'output', priority: -100 }, rules: [rule(to(goto('dispatch')))] },
    {
      name: 'postrouting',
      hook: { type: 'nat', hook: 'postrouting', priority: 100 },
      rules: [
        // What session affinity left on the first packet; nobody else shall have to know of it.
        rule(match(mark, { kind: 'range', from: markBase, to: markBase + 0xff_ff_ff }), {
          do: 'mark',
          value: number(0),
        }),
        // A pod that reaches itself through its Service must see another source, or its answer never leaves it.
        rule(translated, match(fromTo, { kind: 'set', name: 'hairpin' }), { do: 'masquerade' }),
        rule(translated, match(protocolExpr, anyTransport), { do: 'vmap', key: first, map: 'source-nat' }),
      ],
    },
  ];
}

/** What the frontends of one object add to the table of their family. */
export function contribution(family: Family, frontends: readonly Frontend[], clusterIps: readonly Ip[]): Contribution {
  const chains = new Map<string, Chain>();
  const elements: Element[] = clusterIps
    .filter((ip) => familyOf(ip) === family)
    .map((ip) => ({ set: 'cluster-ips', key: elementKey(ip) }));
  const seen = new Set<string>();
  for (const frontend of frontends) {
    const key = serviceAddressKey(frontend);
    if (familyOf(frontend.address) !== family || seen.has(key)) continue;
    seen.add(key);
    elements.push(...frontendElements(family, frontend, chains));
  }
  const folded = foldRuns([...unique(elements)], (set) => counted.has(set));
  return { chains: [...chains.values()], ...folded };
}

/** Maps whose keys end in the number of an endpoint. */
const counted: ReadonlySet<string> = new Set(transports.map((protocol) => `endpoints-${protocol}`));

const unique = (elements: readonly Element[]): Iterable<Element> =>
  new Map(elements.map((element) => [`${element.set} ${element.key}`, element])).values();

const masqueradeChain: Readonly<Record<SourceNat, string>> = {
  everybody: 'masquerade-everybody',
  outside: 'masquerade-outside',
  visitors: 'masquerade-visitors',
};

/** What depends on no Service. */
export function factElements(family: Family, { serviceCidrs, podCidrs }: ProxyFacts): Element[] {
  const ranges = (set: string, all: readonly Cidr[]): Element[] =>
    outermost(all.filter((range) => familyOf(range) === family)).map((range) => ({ set, key: elementKey(range) }));
  return [...ranges('service-ranges', serviceCidrs), ...ranges('own-pods', podCidrs)];
}

function frontendElements(family: Family, frontend: Frontend, chains: Map<string, Chain>): Element[] {
  const parts = [frontend.address, l4(frontend), frontend.port] as const;
  const key = elementKey(...parts);
  const elements: Element[] = [
    ...choiceElements(family, frontend, frontend.choice, 'services', 0, chains),
    ...(frontend.outside === undefined
      ? []
      : choiceElements(family, frontend, frontend.outside, 'outside-services', outsideOffset, chains)),
  ];
  elements.push({ set: 'source-nat', key, value: elementVerdict(goto(masqueradeChain[frontend.sourceNat])) });
  if (frontend.sources !== undefined) {
    elements.push({ set: 'guarded', key });
    for (const range of outermost(frontend.sources))
      elements.push({ set: 'sources', key: elementKey(...parts, range) });
  }
  return elements;
}

function choiceElements(
  family: Family,
  frontend: Frontend,
  choice: Choice,
  map: 'services' | 'outside-services',
  offset: number,
  chains: Map<string, Chain>,
): Element[] {
  const parts = [frontend.address, l4(frontend), frontend.port] as const;
  const dispatch = (chain: string): Element => ({
    set: map,
    key: elementKey(...parts),
    value: elementVerdict(goto(chain)),
    comment: commentOf(`${frontend.kind} of ${frontend.owner}`),
  });
  if (choice.to !== 'backends') return [dispatch(choice.to === 'reject' ? 'reject-new' : 'drop-new')];
  const backends = choice.backends.slice(0, maximumBackends);
  const used = (chain: Chain): string => {
    chains.set(chain.name, chain);
    return chain.name;
  };
  const elements = backends
    .filter(({ local }) => local)
    .map(({ ip }): Element => ({ set: 'hairpin', key: elementKey(ip, ip) }));
  if (frontend.affinitySeconds === undefined) {
    elements.push(dispatch(used(anyOfChain(family, l4(frontend), backends.length, offset))));
    backends.forEach((backend, index) => {
      const key = elementKey(frontend.address, frontend.port, offset + index);
      elements.push({ set: `endpoints-${l4(frontend)}`, key, value: endpointValue(backend) });
    });
    return elements;
  }
  const remember = rememberChain(family, frontend.affinitySeconds);
  const verdict = elementVerdict(goto(used(remember)));
  elements.push(dispatch(used(affinityChain(family, backends.length, offset, remember.name))));
  const marks = affinityMarks(backends);
  backends.forEach((backend, index) => {
    const slot = marks[index] ?? markBase;
    elements.push({ set: 'choices', key: elementKey(...parts, offset + index), value: elementKey(slot) });
    elements.push({ set: 'remembered', key: elementKey(...parts, slot), value: verdict });
    elements.push({ set: 'slots', key: elementKey(...parts, slot), value: endpointValue(backend) });
  });
  return elements;
}

const endpointValue = ({ ip, port }: Backend): ElementText => elementKey(ip, port);
const l4 = ({ protocol }: Frontend): L4Protocol => (({ TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' }) as const)[protocol];

/** One of `count` endpoints at random, from the index `offset` on. */
function anyOfChain(family: Family, protocol: L4Protocol, count: number, offset: number): Chain {
  const lookup: Expr = {
    kind: 'lookup',
    key: concat(address(family, 'daddr'), portOf(protocol), { kind: 'random', modulus: count, offset }),
    map: `endpoints-${protocol}`,
  };
  return { name: `${offset === 0 ? '' : 'outside-'}${protocol}-n${count}`, rules: [rule(dnat(family, lookup))] };
}

const dnat = (family: Family, target: Expr): Statement => ({
  do: 'dnat',
  family: family === 'IPv4' ? 'ip' : 'ip6',
  to: target,
});

/**
 * The endpoint that the client had before while it is still there, otherwise one of `count` at random. A remembered
 * endpoint is named by its mark, which depends on nothing but itself: it goes on meaning the same one when others come
 * and go, and after a restart of the proxy.
 */
function affinityChain(family: Family, count: number, offset: number, remember: string): Chain {
  const frontend = frontendParts(family);
  const lookup = (key: Expr, map: string): Statement => ({ do: 'mark', value: { kind: 'lookup', key, map } });
  const random: Expr = { kind: 'random', modulus: count, offset };
  return {
    name: `${offset === 0 ? '' : 'outside-'}${remember}-n${count}`,
    rules: [
      rule({ do: 'mark', value: number(0) }),
      rule(lookup(concat(...affinityKey(family)), 'affinity')),
      rule({ do: 'vmap', key: concat(...frontend, mark), map: 'remembered' }),
      rule(lookup(concat(...frontend, random), 'choices')),
      rule(to(goto(remember))),
    ],
  };
}

/** Notes the endpoint in the mark as the client's for so many seconds from now, and goes there. */
function rememberChain(family: Family, seconds: number): Chain {
  const frontend = frontendParts(family);
  return {
    name: `remember-${seconds}`,
    rules: [
      rule({
        do: 'update',
        map: 'affinity',
        key: concat(...affinityKey(family)),
        timeoutSeconds: seconds,
        value: mark,
      }),
      rule(dnat(family, { kind: 'lookup', key: concat(...frontend, mark), map: 'slots' })),
    ],
  };
}

/** A mark for each endpoint of a frontend: its hash; where two are equal, the later one by name takes the next free. */
export function affinityMarks(backends: readonly Pick<Backend, 'ip' | 'port'>[]): number[] {
  const taken = new Set<number>();
  const marks = new Map<string, number>();
  for (const key of backends.map(backendKey).sort()) {
    let hash = fnv1a(key) & 0xff_ff_ff;
    while (taken.has(hash)) hash = (hash + 1) & 0xff_ff_ff;
    taken.add(hash);
    marks.set(key, markBase + hash);
  }
  return backends.map((backend) => marks.get(backendKey(backend)) ?? markBase);
}

/** The FNV-1a hash of a text, 32 bits. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0;
}

/** Without the ranges that lie within another one: the kernel refuses overlapping ranges in a set. */
function outermost(ranges: readonly Cidr[]): Cidr[] {
  const sorted = [...new Set(ranges)]
    .map((range) => ({ range, ...rangeOf(range) }))
    .sort((a, b) => a.prefix - b.prefix);
  const kept: typeof sorted = [];
  for (const candidate of sorted) {
    const inside = kept.some((outer) => candidate.first >= outer.first && candidate.first < outer.first + outer.size);
    if (!inside) kept.push(candidate);
  }
  return kept.map(({ range }) => range);
}
