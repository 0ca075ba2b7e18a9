// Whether this machine can have Services in IPVS: tried out in a network namespace of its own, which is gone afterwards.

import { asIp, parsePort } from '../net/address.ts';
import { Ipsets, type IpsetType } from './ipset.ts';
import { ruleText } from './iptables.ts';
import { installedBackends, iptablesOf } from './iptables-run.ts';
import { Ipvs } from './ipvs.ts';
import { failedWith } from './libc.ts';
import { createDummy } from './links.ts';
import { Netlink } from './netlink.ts';
import { inNewNetns } from './netns.ts';

const setTypes: readonly IpsetType[] = [
  'hash:ip',
  'hash:ip,port',
  'hash:ip,port,ip',
  'hash:ip,port,net',
  'bitmap:port',
];
const testSet = { name: 'WEFT-TEST', family: 'IPv4' } as const;

/** What the kernel lacks for the mode ipvs with that scheduler, in one line; undefined where it lacks nothing. */
export async function ipvsProblem(scheduler: string): Promise<string | undefined> {
  const [backend] = installedBackends();
  try {
    await inNewNetns(() => {
      tryKernel(scheduler);
      // Without iptables, which can be installed, its match of sets cannot be tried.
      if (backend === undefined) return;
      const matches = [{ match: 'set', set: testSet.name, by: ['dst'] }] as const;
      const rules = [ruleText({ matches, target: { to: 'ACCEPT' } })];
      // The child is started here, and so in this namespace.
      return iptablesOf(backend).restore(testSet.family, [{ table: 'mangle', chains: [{ name: 'WEFT-TEST', rules }] }]);
    });
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function tryKernel(scheduler: string): void {
  using ipvs = Ipvs.open();
  if (ipvs === undefined) throw new Error('this kernel has no IPVS (module ip_vs)');
  const port = parsePort(80);
  if (port === undefined) throw new RangeError('80 is a port');
  try {
    ipvs.addServer({ address: asIp('198.51.100.1'), protocol: 'tcp', port, scheduler });
  } catch (error) {
    if (!failedWith(error, 'ENOENT')) throw error;
    throw new Error(`this kernel has no scheduler ${scheduler} for IPVS (module ip_vs_${scheduler})`);
  }
  using sets = Ipsets.open();
  if (sets === undefined) throw new Error('this kernel has no IP sets (module ip_set)');
  // The last one stays for the rule.
  for (const type of setTypes.toReversed()) {
    sets.destroy(testSet.name);
    sets.create({ ...testSet, type });
  }
  using links = Netlink.open();
  createDummy(links, { name: 'kube-ipvs0' });
}
