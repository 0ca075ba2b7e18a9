// The addresses that a node has of its own, of which its NodePorts may be open on some.
import { listAddresses } from '../linux/addresses.ts';
import { findLink } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import type { NetnsRef } from '../linux/netns.ts';
import type { Ip } from '../net/address.ts';
import { dummyLink } from './ipvs/sets.ts';

/** All but those of Services, which the mode ipvs puts on a link. Of this process's network namespace where none is named. */
export function presentAddresses(netns?: NetnsRef): Ip[] {
  using nl = Netlink.open(netns);
  const ofServices = findLink(nl, dummyLink)?.index;
  return listAddresses(nl).flatMap(({ address, link }) => (link === ofServices ? [] : [address]));
}
