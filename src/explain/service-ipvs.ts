// What of a Service is in the kernel of a node in the mode ipvs: servers, addresses of kube-ipvs0, elements of sets.
import { listAddresses } from '../linux/addresses.ts';
import { elementText, Ipsets } from '../linux/ipset.ts';
import { Ipvs, type RealServer, realServerKey, type VirtualServer } from '../linux/ipvs.ts';
import { findLink } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import type { NetnsRef } from '../linux/netns.ts';
import { type Family, familyOf, type Ip } from '../net/address.ts';
import { itemKey } from '../proxy/ipvs/changes.ts';
import { type Item, itemsOf } from '../proxy/ipvs/items.ts';
import { dummyLink, kernelSet, kernelSetName } from '../proxy/ipvs/sets.ts';
import { backendKey } from '../proxy/service-port.ts';
import type { KernelEntry, KernelInput } from './kernel-entry.ts';

type ServerItem = Extract<Item, { kind: 'server' }>;
type ElementItem = Extract<Item, { kind: 'element' }>;

/** Reads what the proxy would write for the models. Things that several ports share are told once. */
export function inIpvs({ models, node, netns, ipvsScheduler: scheduler }: KernelInput): KernelEntry[] {
  const items = new Map(
    models.flatMap((model) => itemsOf(model, { node, scheduler })).map((item) => [itemKey(item), item]),
  );
  const all = [...items.values()];
  return [
    ...serverEntries(
      all.filter((item) => item.kind === 'server'),
      netns,
    ),
    ...addressEntries(
      all.flatMap((item) => (item.kind === 'address' ? item.address : [])),
      netns,
    ),
    ...elementEntries(
      all.filter((item) => item.kind === 'element'),
      netns,
    ),
  ];
}

/** Whether a virtual server is there, and how it chooses; then each of its real servers. */
function serverEntries(items: readonly ServerItem[], netns: NetnsRef): KernelEntry[] {
  using ipvs = Ipvs.open(netns);
  return items.flatMap(({ server, reals }): KernelEntry[] => {
    const family = familyOf(server.address);
    const name = `${server.protocol} ${server.address} ${server.port}`;
    const ofReal = (real: RealServer) =>
      ({ family, place: 'real server', key: `${backendKey(real)} of ${name}` }) as const;
    const there = ipvs?.server(server);
    const [wanted, found] = [choiceText(server), there === undefined ? undefined : choiceText(there)];
    const held = there === undefined ? [] : (ipvs?.reals(server) ?? []);
    const decided = new Set(reals.map(realServerKey));
    return [
      {
        family,
        place: 'virtual server',
        key: name,
        wanted,
        ...(found !== undefined && { found }),
        ...ipvs?.traffic(server),
        state: stateOf(wanted, found),
      },
      ...reals.map((real): KernelEntry => {
        const one = held.find((other) => realServerKey(other) === realServerKey(real));
        const texts = { wanted: weightText(real), ...(one !== undefined && { found: weightText(one) }) };
        return { ...ofReal(real), ...texts, ...one?.traffic, state: stateOf(texts.wanted, texts.found) };
      }),
      // One that takes no new connections stays until the last one of its own has ended.
      ...held
        .filter((real) => !decided.has(realServerKey(real)))
        .map(
          (real): KernelEntry => ({
            ...ofReal(real),
            found: weightText(real),
            ...real.traffic,
            state: real.weight === 0 ? 'as decided' : 'different',
          }),
        ),
    ];
  });
}

const choiceText = ({ scheduler, persistentSeconds, hashPort }: VirtualServer): string =>
  [
    scheduler,
    ...(hashPort === true ? ['by port too'] : []),
    ...(persistentSeconds === undefined ? [] : [`persistent ${persistentSeconds} s`]),
  ].join(', ');

const weightText = ({ weight }: RealServer): string => `weight ${weight}`;

function addressEntries(wanted: readonly Ip[], netns: NetnsRef): KernelEntry[] {
  using links = Netlink.open(netns);
  const own = findLink(links, dummyLink)?.index;
  const names = new Map(listAddresses(links).map(({ address, link }) => [address, link]));
  return wanted.map((address): KernelEntry => {
    const link = names.get(address);
    // Another link of the node may have had it before: it does there as well.
    const found = link === undefined ? undefined : link === own ? dummyLink : 'another link';
    return {
      family: familyOf(address),
      place: 'address',
      key: address,
      wanted: dummyLink,
      ...(found !== undefined && { found }),
      state: found === undefined ? 'missing' : 'as decided',
    };
  });
}

function elementEntries(items: readonly ElementItem[], netns: NetnsRef): KernelEntry[] {
  using sets = Ipsets.open(netns);
  const held = new Map<string, ReadonlySet<string>>();
  const elementsOf = (set: ElementItem['set'], family: Family): ReadonlySet<string> => {
    const name = kernelSetName(set, family);
    const known = held.get(name) ?? new Set((sets?.elements(kernelSet(set, family)) ?? []).map(elementText));
    held.set(name, known);
    return known;
  };
  return items.map(({ set, family, element }): KernelEntry => {
    const key = elementText(element);
    const isThere = elementsOf(set, family).has(key);
    return { family, place: `set ${kernelSetName(set, family)}`, key, state: isThere ? 'as decided' : 'missing' };
  });
}

function stateOf(wanted: string, found: string | undefined): KernelEntry['state'] {
  if (found === undefined) return 'missing';
  return found === wanted ? 'as decided' : 'different';
}
