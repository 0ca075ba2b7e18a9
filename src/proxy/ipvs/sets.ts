// The IP sets and the link of the IPVS mode: kube-proxy's, by its names, and two sets of Weft's own. Pure.
// The names are those of pkg/proxy/ipvs/ipset.go; tools and people who look for them find them.
import type { Ipset, IpsetType } from '../../linux/ipset.ts';
import type { Family } from '../../net/address.ts';

/** The link that has the addresses of Services; kube-proxy's name. */
export const dummyLink = 'kube-ipvs0';

/** What the elements of each set are. */
const types = {
  'KUBE-LOOP-BACK': 'hash:ip,port,ip',
  'KUBE-CLUSTER-IP': 'hash:ip,port',
  'KUBE-EXTERNAL-IP': 'hash:ip,port',
  'KUBE-EXTERNAL-IP-LOCAL': 'hash:ip,port',
  'KUBE-LOAD-BALANCER': 'hash:ip,port',
  'KUBE-LOAD-BALANCER-LOCAL': 'hash:ip,port',
  'KUBE-LOAD-BALANCER-FW': 'hash:ip,port',
  'KUBE-LOAD-BALANCER-SOURCE-IP': 'hash:ip,port,ip',
  'KUBE-LOAD-BALANCER-SOURCE-CIDR': 'hash:ip,port,net',
  'KUBE-NODE-PORT-TCP': 'bitmap:port',
  'KUBE-NODE-PORT-LOCAL-TCP': 'bitmap:port',
  'KUBE-NODE-PORT-UDP': 'bitmap:port',
  'KUBE-NODE-PORT-LOCAL-UDP': 'bitmap:port',
  // The type bitmap:port does not know the ports of SCTP.
  'KUBE-NODE-PORT-SCTP-HASH': 'hash:ip,port',
  'KUBE-NODE-PORT-LOCAL-SCTP-HASH': 'hash:ip,port',
  'KUBE-HEALTH-CHECK-NODE-PORT': 'bitmap:port',
  'KUBE-IPVS-IPS': 'hash:ip',
  /** Addresses that nobody may be served at: the policy is Local and no endpoint is. */
  'WEFT-NO-LOCAL': 'hash:ip,port',
  /** As before, for those who come from outside of the cluster. */
  'WEFT-NO-LOCAL-OUTSIDE': 'hash:ip,port',
} as const satisfies Record<string, IpsetType>;

export type SetName = keyof typeof types;

// A library name would be shorter, but Object.keys has no type for its keys.
const isSetName = (name: string): name is SetName => name in types;
export const setNames: readonly SetName[] = Object.keys(types).filter(isSetName);

/** A name of a set has at most 31 characters (IPSET_MAXNAMELEN without its zero). */
const longestName = 31;

/** The name in the kernel: both families are there side by side, so those of IPv6 have a 6 in theirs. */
export function kernelSetName(name: SetName, family: Family): string {
  return family === 'IPv4' ? name : name.replace(/^(KUBE|WEFT)-/, '$1-6-').slice(0, longestName);
}

/** The set as it is made in the kernel. */
export function kernelSet(name: SetName, family: Family): Ipset {
  return { name: kernelSetName(name, family), type: types[name], family };
}
