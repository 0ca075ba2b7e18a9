// Decides what to change in the kernel so that it has the items it should have; and in which order. Pure.
import { elementText } from '../../linux/ipset.ts';
import { type RealServer, realServerKey, type VirtualServer, virtualServerKey } from '../../linux/ipvs.ts';
import type { Item } from './items.ts';
import { kernelSetName } from './sets.ts';

/** One exchange with the kernel. */
export type Change =
  | { readonly do: 'add' | 'delete'; readonly item: Exclude<Item, { kind: 'server' }> }
  | { readonly do: 'add server' | 'change server' | 'delete server'; readonly server: VirtualServer }
  | { readonly do: 'set real' | 'delete real'; readonly server: VirtualServer; readonly real: RealServer };

/** Names an item: two with one name are the same thing, though perhaps of different properties. */
export function itemKey(item: Item): string {
  switch (item.kind) {
    case 'server':
      return `server ${virtualServerKey(item.server)}`;
    case 'address':
      return `address ${item.address}`;
    case 'element':
      return `${kernelSetName(item.set, item.family)} ${elementText(item.element)}`;
  }
}

/**
 * The changes that turn what is there into what is wanted, for the items of those keys. A packet meets a Service whole
 * or not at all: its marks are there before its servers, these before its address; and they go the other way round.
 */
export function changes(
  keys: Iterable<string>,
  wanted: ReadonlyMap<string, Item>,
  there: ReadonlyMap<string, Item>,
): Change[] {
  const steps: Readonly<Record<Item['kind'], { readonly come: Change[]; readonly go: Change[] }>> = {
    address: { come: [], go: [] },
    server: { come: [], go: [] },
    element: { come: [], go: [] },
  };
  for (const key of keys) {
    const item = wanted.get(key);
    const old = there.get(key);
    const step = steps[(item ?? old)?.kind ?? 'element'];
    if (item === undefined) step.go.push(...(old === undefined ? [] : goneChanges(old)));
    else step.come.push(...cameChanges(item, old));
  }
  const { address, server, element } = steps;
  return [...address.go, ...server.go, ...element.come, ...server.come, ...address.come, ...element.go];
}

function goneChanges(item: Item): Change[] {
  return item.kind === 'server' ? [{ do: 'delete server', server: item.server }] : [{ do: 'delete', item }];
}

function cameChanges(item: Item, old: Item | undefined): Change[] {
  if (item.kind !== 'server') return old === undefined ? [{ do: 'add', item }] : [];
  if (old?.kind !== 'server') {
    return [{ do: 'add server', server: item.server }, ...realChanges(item.server, item.reals, [])];
  }
  return [
    ...(isEqual(item.server, old.server) ? [] : [{ do: 'change server', server: item.server } as const]),
    ...realChanges(item.server, item.reals, old.reals),
  ];
}

const isEqual = (a: VirtualServer, b: VirtualServer): boolean =>
  a.scheduler === b.scheduler && a.persistentSeconds === b.persistentSeconds && a.hashPort === b.hashPort;

/**
 * New ones first, so that there is always somebody. A real server that is not wanted any more keeps its connections,
 * with the weight 0, until it has none; UDP has no connections that end, so there it goes at once.
 */
function realChanges(server: VirtualServer, wanted: readonly RealServer[], there: readonly RealServer[]): Change[] {
  const known = new Map(there.map((real) => [realServerKey(real), real.weight]));
  const keys = new Set(wanted.map(realServerKey));
  const came = wanted.filter((real) => known.get(realServerKey(real)) !== real.weight);
  const gone = there.filter((real) => !keys.has(realServerKey(real)));
  return [
    ...came.map((real): Change => ({ do: 'set real', server, real })),
    ...gone.flatMap((real): Change[] => {
      if (server.protocol === 'udp') return [{ do: 'delete real', server, real }];
      return real.weight === 0 ? [] : [{ do: 'set real', server, real: { ...real, weight: 0 } }];
    }),
  ];
}

/** What is there after a change. */
export function changed(there: Map<string, Item>, change: Change): void {
  switch (change.do) {
    case 'add':
      there.set(itemKey(change.item), change.item);
      return;
    case 'delete':
      there.delete(itemKey(change.item));
      return;
    case 'delete server':
      there.delete(`server ${virtualServerKey(change.server)}`);
      return;
    default: {
      const key = `server ${virtualServerKey(change.server)}`;
      const old = there.get(key);
      const reals = old?.kind === 'server' ? old.reals : [];
      there.set(key, { kind: 'server', server: change.server, reals: realsAfter(reals, change) });
    }
  }
}

function realsAfter(reals: readonly RealServer[], change: Change): readonly RealServer[] {
  if (change.do !== 'set real' && change.do !== 'delete real') return reals;
  const others = reals.filter((real) => realServerKey(real) !== realServerKey(change.real));
  return change.do === 'set real' ? [...others, change.real] : others;
}
