// What a Service adds to the nftables table of the proxy: elements, and the chains for its numbers of endpoints. Pure.
import type { Chain, Element, ElementRun, ElementText, Expr, L4Protocol } from '../../linux/nft.ts';
import { commentOf, elementKey, elementVerdict } from '../../linux/nft.ts';
import type { Contribution } from '../../linux/nft-table.ts';
import { type Cidr, type Family, familyOf, type Ip, rangeOf } from '../../net/address.ts';
import { type Backend, backendKey, type ProxyNode, type ServicePortModel, serviceAddressKey } from '../service-port.ts';
import type { ProxyFacts } from '../writer.ts';
import { AffinityMarks, affinityChain, rememberChain, serviceNumber } from './affinity.ts';
import { address, concat, dnat, goto, portOf, rule } from './expressions.ts';
import { type Choice, type Frontend, frontends, type SourceNat } from './frontend.ts';
import { mostSlots, stableSlots, weightedSlots } from './slots.ts';

// What clients from outside choose from starts at this index, beside what everybody chooses from.
const outsideOffset = 32_768;
/** All nodes choose the same endpoint for a client. */
const choiceSeed = 0x77656674;

/** What the ports of one Service, all of one family, add to the table of that family. */
export function contribution(
  family: Family,
  models: readonly ServicePortModel[],
  node: Pick<ProxyNode, 'addresses' | 'nodePortAddresses'>,
): Contribution {
  const result = {
    family,
    chains: new Map<string, Chain>(),
    elements: [] as Element[],
    runs: [] as ElementRun[],
  };
  const isSticky = models.some(({ affinitySeconds }) => affinitySeconds !== undefined);
  const marks = new AffinityMarks(isSticky ? models.flatMap(({ servingEndpoints }) => servingEndpoints) : []);
  const clusterIps = new Set(models.map(({ clusterIp }) => clusterIp));
  for (const clusterIp of clusterIps) result.elements.push({ set: 'cluster-ips', key: elementKey(clusterIp) });
  for (const ip of hairpins(models)) result.elements.push({ set: 'hairpin', key: elementKey(ip, ip) });
  const seen = new Set<string>();
  for (const model of models) {
    const writing: Writing = { ...result, marks: marks.of(isSticky ? model.servingEndpoints : []) };
    for (const frontend of frontends(model, node)) {
      const key = serviceAddressKey(frontend);
      if (!seen.has(key)) addFrontend(writing, frontend);
      seen.add(key);
    }
  }
  return { chains: [...result.chains.values()], elements: result.elements, runs: result.runs };
}

/** Endpoints of this node, which may be chosen for connections of their own. */
function hairpins(models: readonly ServicePortModel[]): Set<Ip> {
  const found = new Set<Ip>();
  for (const { allEndpoints } of models) for (const { ip, local } of allEndpoints) if (local) found.add(ip);
  return found;
}

/** What depends on no Service. */
export function factElements(family: Family, { serviceCidrs, podCidrs }: ProxyFacts): Element[] {
  const ranges = (set: string, all: readonly Cidr[]): Element[] =>
    outermost(all.filter((range) => familyOf(range) === family)).map((range) => ({ set, key: elementKey(range) }));
  return [...ranges('service-ranges', serviceCidrs), ...ranges('own-pods', podCidrs)];
}

/** A contribution that is being made. */
interface Writing {
  readonly family: Family;
  readonly chains: Map<string, Chain>;
  readonly elements: Element[];
  readonly runs: ElementRun[];
  /** Of the endpoints of the port in hand. */
  readonly marks: ReadonlyMap<string, number>;
}

const add = ({ elements }: Writing, element: Element): void => {
  elements.push(element);
};

function use({ chains }: Writing, chain: Chain): string {
  chains.set(chain.name, chain);
  return chain.name;
}

const masqueradeChain: Readonly<Record<SourceNat, string>> = {
  everybody: 'masquerade-everybody',
  outside: 'masquerade-outside',
  visitors: 'masquerade-visitors',
};

function addFrontend(writing: Writing, frontend: Frontend): void {
  const parts = partsOf(frontend);
  const key = elementKey(...parts);
  addChoice(writing, frontend, frontend.choice, false);
  if (frontend.outside !== undefined) addChoice(writing, frontend, frontend.outside, true);
  add(writing, { set: 'source-nat', key, value: elementVerdict(goto(masqueradeChain[frontend.sourceNat])) });
  if (frontend.affinity !== undefined)
    add(writing, {
      set: 'affinity-services',
      key,
      value: elementKey({ class: serviceNumber(frontend.affinity.clusterIp) }),
    });
  if (frontend.sources === undefined) return;
  add(writing, { set: 'guarded', key });
  for (const range of outermost(frontend.sources)) add(writing, { set: 'sources', key: elementKey(...parts, range) });
}

const partsOf = (frontend: Frontend): readonly [Ip, L4Protocol, number] => [
  frontend.address,
  l4(frontend),
  frontend.port,
];

function addChoice(writing: Writing, frontend: Frontend, choice: Choice, isOutside: boolean): void {
  const chain =
    choice.to === 'backends' ? addSlots(writing, frontend, choice.backends, isOutside) : refusals[choice.to];
  add(writing, {
    set: isOutside ? 'outside-services' : 'services',
    key: elementKey(...partsOf(frontend)),
    value: elementVerdict(goto(chain)),
    comment: commentOf(`${frontend.kind} of ${frontend.owner}`),
  });
}

const refusals = { reject: 'reject-new', drop: 'drop-new' } as const;

/** The endpoints in their slots; returns the chain that chooses one of them. */
function addSlots(writing: Writing, frontend: Frontend, backends: readonly Backend[], isOutside: boolean): string {
  const isStable = frontend.by === 'client-address';
  const slots = isStable ? stableSlots(backends) : weightedSlots(backends);
  const offset = isOutside ? outsideOffset : 0;
  const index: Expr = isStable
    ? { kind: 'hash', of: address(writing.family, 'saddr'), modulus: mostSlots, seed: choiceSeed, offset }
    : { kind: 'random', modulus: slots.length, offset };
  const kind = `${isStable ? 'h' : 'n'}${slots.length}`;
  const name = (stem: string): string => `${isOutside ? 'outside-' : ''}${stem}-${kind}`;
  if (frontend.affinity !== undefined)
    return addAffinity(writing, frontend, slots, frontend.affinity.seconds, { index, offset, name });
  const protocol = l4(frontend);
  const prefix = elementKey(frontend.address, frontend.port);
  writing.runs.push({ set: `endpoints-${protocol}`, prefix, first: offset, values: slots.map(endpointValue) });
  const target = lookup(writing.family, protocol, index);
  return use(writing, { name: name(protocol), rules: [rule(dnat(writing.family, target))] });
}

const lookup = (family: Family, protocol: L4Protocol, index: Expr): Expr => ({
  kind: 'lookup',
  key: concat(address(family, 'daddr'), portOf(protocol), index),
  map: `endpoints-${protocol}`,
});

interface Indexing {
  readonly index: Expr;
  readonly offset: number;
  readonly name: (stem: string) => string;
}

/** The slots by their marks, and what a client that is known goes on with; returns the chain that begins it. */
function addAffinity(
  writing: Writing,
  frontend: Frontend,
  slots: readonly Backend[],
  seconds: number,
  { index, offset, name }: Indexing,
): string {
  const { family } = writing;
  const parts = partsOf(frontend);
  const remember = use(writing, rememberChain(family, seconds));
  const isOutside = offset > 0;
  const markOf = (backend: Backend): number => writing.marks.get(backendKey(backend)) ?? 0;
  const value = elementVerdict(goto(remember));
  for (const backend of new Set(slots)) {
    const mark = markOf(backend);
    add(writing, { set: isOutside ? 'outside-remembered' : 'remembered', key: elementKey(...parts, mark), value });
    // Its slot is there where everybody may choose it.
    if (!isOutside || !isAmong(frontend.choice, backend))
      add(writing, { set: 'slots', key: elementKey(...parts, mark), value: endpointValue(backend) });
  }
  const values = slots.map((backend) => elementKey(markOf(backend)));
  writing.runs.push({ set: 'choices', prefix: elementKey(...parts), first: offset, values });
  return use(writing, affinityChain(family, index, { name: name(remember), isOutside, remember }));
}

const isAmong = (choice: Choice, backend: Backend): boolean =>
  choice.to === 'backends' && choice.backends.includes(backend);

const endpointValue = ({ ip, port }: Backend): ElementText => elementKey(ip, port);
const l4 = ({ protocol }: Frontend): L4Protocol => (({ TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' }) as const)[protocol];

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
