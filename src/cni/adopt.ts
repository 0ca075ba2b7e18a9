// Pods that run without a lease, because the store of leases was lost: their addresses are taken out of the free ones.
import { listAddresses } from '../linux/addresses.ts';
import { type Link, listLinks } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import { inNetns, listNamedNetns, netnsPath } from '../linux/netns.ts';
import type { Ip } from '../net/address.ts';
import type { Lease } from './lease-store.ts';
import { adoptedAttachment, hostLinkName, isHostLinkName } from './plan.ts';
import { noSettings } from './wishes.ts';

/** The container's end of a pair, as it is found in a namespace. */
export interface FoundEnd {
  readonly netns: string;
  readonly ifname: string;
  readonly index: number;
  /** The index of the node's end. */
  readonly peer: number;
  readonly addresses: readonly Ip[];
}

/**
 * The leases that are missing: one for each of the node's ends that no lease explains and whose other end was found.
 * The container's id is lost with the store, so the lease goes by the name of the link, which DEL finds from the id;
 * else the sweep frees it when the namespace is gone. Pure.
 */
export function decideAdoption(
  hostLinks: readonly Link[],
  leases: readonly Lease[],
  ends: readonly FoundEnd[],
): Omit<Lease, 'attached'>[] {
  const explained = new Set(leases.map((lease) => hostLinkName(lease.attachment)));
  const held = new Set(leases.flatMap((lease) => lease.addresses));
  return hostLinks
    .filter(({ name }) => isHostLinkName(name) && !explained.has(name))
    .flatMap((link) => {
      const end = ends.find(({ index, peer }) => index === link.peer && peer === link.index);
      const addresses = end?.addresses.filter((address) => !held.has(address)) ?? [];
      if (end === undefined || addresses.length === 0) return [];
      return [
        {
          attachment: adoptedAttachment(link.name, end.ifname),
          network: 'adopted',
          netns: end.netns,
          pod: '',
          addresses,
          settings: noSettings,
        },
      ];
    });
}

/** The ends of veth pairs in all named namespaces, which is where runtimes put those of pods. */
export function findEnds(): FoundEnd[] {
  return listNamedNetns().flatMap((name) => {
    try {
      const netns = netnsPath(name);
      return inNetns(netns, () => endsHere(netns));
    } catch {
      // Gone in between, or no namespace: nothing of a running pod is in it.
      return [];
    }
  });
}

function endsHere(netns: string): FoundEnd[] {
  using nl = Netlink.open();
  const addresses = listAddresses(nl).filter(({ address }) => !address.startsWith('fe80:'));
  return listLinks(nl).flatMap(({ kind, index, name, peer }) =>
    kind === 'veth' && peer !== undefined
      ? [
          {
            netns,
            ifname: name,
            index,
            peer,
            addresses: addresses.filter((a) => a.link === index).map((a) => a.address),
          },
        ]
      : [],
  );
}
