// Which ranges the cluster addresses of Services come from, as far as the proxy knows. Pure.
import type { ServiceCIDR } from '../k8s/types.generated.ts';
import { type Cidr, parseCidr } from '../net/address.ts';

/** The configured ranges and those of all ServiceCIDRs: one that is being deleted may still have Services. */
export function serviceRanges(configured: readonly Cidr[], cidrs: readonly ServiceCIDR[]): Cidr[] {
  const added = cidrs.flatMap(({ spec }) => (spec.cidrs ?? []).map(parseCidr).filter((range) => range !== undefined));
  return [...new Set([...configured, ...added.sort()])];
}
