// The node's bridge in the kernel: made as planned, and put right where it differs.
import { deleteAddress, listAddresses, replaceAddress } from '../linux/addresses.ts';
import { failedWith } from '../linux/libc.ts';
import { changeLink, createBridge, findLink, type Link, listLinks } from '../linux/links.ts';
import type { Netlink } from '../linux/netlink.ts';
import { writeSysctl } from '../linux/netns.ts';
import { isHostLinkName, type NodePlan } from './plan.ts';

/** What had to be changed; empty when all was as planned. */
export interface BridgeState {
  /** The bridge's index. */
  readonly index: number;
  readonly repairs: readonly string[];
}

/** Brings the bridge, its addresses and its ports to the plan. Writes only what differs. */
export function ensureBridge(nl: Netlink, plan: NodePlan): BridgeState {
  const repairs: string[] = [];
  const bridge = findLink(nl, plan.bridge.name) ?? makeBridge(nl, plan, repairs);
  if (bridge.kind !== 'bridge')
    throw new Error(
      `the interface ${bridge.name} is there already and is no bridge: delete it (ip link delete ${bridge.name})`,
    );
  if (!bridge.up || bridge.mtu !== plan.bridge.mtu || bridge.mac !== plan.bridge.mac) {
    repairs.push(`set up ${bridge.name}`);
    changeLink(nl, bridge.index, { mac: plan.bridge.mac, mtu: plan.bridge.mtu, up: true });
  }
  ensureAddresses(nl, bridge, plan, repairs);
  for (const link of listLinks(nl)) {
    if (!isHostLinkName(link.name) || (link.master === bridge.index && link.up)) continue;
    repairs.push(`joined ${link.name}`);
    changeLink(nl, link.index, { master: bridge.index, up: true });
  }
  for (const [key, value] of plan.sysctls) writeSysctl(key, value);
  return { index: bridge.index, repairs };
}

function makeBridge(nl: Netlink, plan: NodePlan, repairs: string[]): Link {
  repairs.push(`made ${plan.bridge.name}`);
  try {
    createBridge(nl, { ...plan.bridge, up: true });
  } catch (error) {
    if (!failedWith(error, 'EEXIST')) throw error;
  }
  const made = findLink(nl, plan.bridge.name);
  if (made === undefined) throw new Error(`the bridge ${plan.bridge.name} went away while it was made`);
  return made;
}

function ensureAddresses(nl: Netlink, bridge: Link, plan: NodePlan, repairs: string[]): void {
  const present = listAddresses(nl, bridge.index).filter(({ address }) => !address.startsWith('fe80:'));
  for (const { address, prefix } of plan.addresses) {
    if (present.some((entry) => entry.address === address && entry.prefix === prefix)) continue;
    repairs.push(`gave ${address}/${prefix} to ${bridge.name}`);
    replaceAddress(nl, { link: bridge.index, address, prefix });
  }
  for (const entry of present) {
    if (plan.addresses.some(({ address, prefix }) => entry.address === address && entry.prefix === prefix)) continue;
    repairs.push(`took ${entry.address}/${entry.prefix} from ${bridge.name}`);
    deleteAddress(nl, entry);
  }
}
