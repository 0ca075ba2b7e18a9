// Decides on which addresses of the node NodePorts are open. Pure.
import type { ProxyMode } from '../k8s/network-config.ts';
import { asIp, type Cidr, cidrContains, familyOf, type Ip } from '../net/address.ts';

const localhost = asIp('127.0.0.1');

/**
 * Those of the node's addresses that lie in one of the ranges; without ranges, the addresses by which the cluster knows
 * the node, and 127.0.0.1. Of the loopback addresses only 127.0.0.1 can be had: the kernel has no way to let packets from
 * ::1 leave a node.
 */
export function nodePortAddresses(
  ranges: readonly Cidr[] | undefined,
  nodeAddresses: readonly Ip[],
  present: readonly Ip[],
): Ip[] {
  const hasIPv4 = nodeAddresses.some((address) => familyOf(address) === 'IPv4');
  if (ranges === undefined) return [...nodeAddresses, ...(hasIPv4 ? [localhost] : [])];
  const isChosen = (address: Ip): boolean =>
    ranges.some((range) => familyOf(range) === familyOf(address) && cidrContains(range, address));
  const usable = [...new Set([...nodeAddresses, ...present])].filter((address) => !isUnusable(address));
  return [...usable, ...(hasIPv4 ? [localhost] : [])].filter(isChosen);
}

/** Those of them that a mode has NodePorts on: there is none on 127.0.0.1 in the mode ipvs. */
export function nodePortsOf(mode: ProxyMode, addresses: readonly Ip[]): readonly Ip[] {
  return mode === 'ipvs' ? addresses.filter((address) => !isLoopback(address)) : addresses;
}

/** What is an address of many machines: loopback and link-local ones. */
const isUnusable = (address: Ip): boolean =>
  address.startsWith('127.') || address === '::1' || /^fe[89ab]/.test(address) || address.startsWith('169.254.');

export const isLoopback = (address: Ip): boolean => address.startsWith('127.');
