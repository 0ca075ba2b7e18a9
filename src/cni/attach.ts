// A pod's attachment in the kernel: the veth pair made, inspected and deleted as planned.
import { closeSync, openSync } from 'node:fs';
import { listAddresses, replaceAddress } from '../linux/addresses.ts';
import { pinMac, setPort } from '../linux/bridge-port.ts';
import { failedWith } from '../linux/libc.ts';
import { changeLink, createIfb, createVeth, deleteLink, findLink, linkIndex } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import { inNetns, netnsIdentity, writeSysctl } from '../linux/netns.ts';
import { listRoutes, protocol, replaceRoute } from '../linux/routes.ts';
import { redirectIngress, setTokenBucket, type TokenBucket, tokenBucketRate } from '../linux/traffic-control.ts';
import type { Mac } from '../net/address.ts';
import type { AttachmentPlan } from './plan.ts';
import { CniError, errorCode } from './protocol.ts';

/**
 * Opens a container's network namespace. Throws CniError (unknown container) where it is gone, and refuses the node's
 * own one.
 */
export function openContainerNetns(path: string): number {
  let fd: number;
  try {
    fd = openSync(path, 'r');
    inNetns(fd, () => undefined);
  } catch (error) {
    const message = `the container's network namespace ${path} is not there`;
    throw new CniError(errorCode.unknownContainer, message, String(error));
  }
  if (netnsIdentity(path) !== netnsIdentity('/proc/thread-self/ns/net')) return fd;
  closeSync(fd);
  throw new CniError(errorCode.invalidEnvironment, `CNI_NETNS ${path} is the node's own network namespace`);
}

/**
 * Makes the pair and sets up both ends. What an interrupted call for the same attachment left is replaced. After a
 * failure nothing stays. Throws CniError where the container has an interface of that name.
 */
export function attach(nl: Netlink, plan: AttachmentPlan, netns: number, bridge: number): void {
  const { host, container } = plan;
  try {
    if (linkIndex(host.name) !== undefined) deleteLink(nl, host.name);
    createVeth(
      nl,
      { name: host.name, mtu: host.mtu, master: bridge, up: true },
      { name: container.name, mac: container.mac, mtu: container.mtu, netns },
    );
  } catch (error) {
    if (!failedWith(error, 'EEXIST')) throw error;
    throw new CniError(errorCode.interfaceExists, `the container has an interface ${container.name} already`);
  }
  try {
    setUpHost(nl, plan);
    inNetns(netns, () => setUpContainer(plan));
  } catch (error) {
    deleteLink(nl, host.name);
    if (host.ifb !== undefined) deleteLink(nl, host.ifb.name);
    throw error;
  }
}

function setUpHost(nl: Netlink, { host, container }: AttachmentPlan): void {
  const link = linkIndex(host.name);
  if (link === undefined) throw new Error(`the interface ${host.name} went away while it was set up`);
  setUpPort(nl, link, container.mac);
  if (host.bucket !== undefined) setTokenBucket(nl, link, host.bucket);
  if (host.ifb === undefined) return;
  const { name, bucket } = host.ifb;
  deleteLink(nl, name);
  createIfb(nl, { name, mtu: host.mtu, up: true });
  const ifb = linkIndex(name);
  if (ifb === undefined) throw new Error(`the interface ${name} went away while it was set up`);
  setTokenBucket(nl, ifb, bucket);
  redirectIngress(nl, link, ifb);
}

/** The bridge knows who is behind the port, and learns nothing from what it sends: nobody takes another one's place. */
export function setUpPort(nl: Netlink, port: number, mac: Mac): void {
  setPort(nl, port, { hairpin: true, learning: false });
  pinMac(nl, port, mac);
}

/** Runs inside of the container's namespace. */
function setUpContainer({ container }: AttachmentPlan): void {
  using nl = Netlink.open();
  changeLink(nl, 1, { up: true });
  const link = linkIndex(container.name);
  if (link === undefined) throw new Error(`the interface ${container.name} went away while it was set up`);
  for (const [key, value] of container.sysctls) writeSysctl(key, value);
  changeLink(nl, link, { up: true });
  for (const { address, prefix } of container.addresses)
    replaceAddress(nl, { link, address, prefix }, { prefixRoute: false });
  for (const route of container.routes) replaceRoute(nl, { ...route, link, protocol: protocol.boot });
}

/** What of an attachment is missing or different in the kernel; empty when all is as planned. */
export function inspectAttachment(nl: Netlink, plan: AttachmentPlan, netns: number, bridge: number): string[] {
  const { host, container } = plan;
  const problems: string[] = [];
  const hostLink = findLink(nl, host.name);
  if (hostLink === undefined) problems.push(`the node's interface ${host.name} is missing`);
  else if (hostLink.master !== bridge) problems.push(`the node's interface ${host.name} is not on the bridge`);
  else if (!hostLink.up) problems.push(`the node's interface ${host.name} is down`);
  if (host.bucket !== undefined) problems.push(...inspectBucket(nl, host.name, host.bucket));
  if (host.ifb !== undefined) problems.push(...inspectBucket(nl, host.ifb.name, host.ifb.bucket));
  return [...problems, ...inNetns(netns, () => inspectContainer(container))];
}

function inspectBucket(nl: Netlink, name: string, { rate }: TokenBucket): string[] {
  const link = findLink(nl, name)?.index;
  if (link !== undefined && tokenBucketRate(nl, link) === rate) return [];
  return [`the limit of ${rate * 8} bits per second is missing on ${name}`];
}

function inspectContainer(container: AttachmentPlan['container']): string[] {
  using nl = Netlink.open();
  const link = findLink(nl, container.name);
  if (link === undefined) return [`the container's interface ${container.name} is missing`];
  const problems: string[] = [];
  if (!link.up) problems.push(`the container's interface ${container.name} is down`);
  if (link.mac !== container.mac) problems.push(`${container.name} has the MAC ${link.mac}, not ${container.mac}`);
  const addresses = listAddresses(nl, link.index);
  for (const { address, prefix } of container.addresses)
    if (!addresses.some((entry) => entry.address === address && entry.prefix === prefix))
      problems.push(`the address ${address}/${prefix} is missing on ${container.name}`);
  const routes = listRoutes(nl);
  for (const { to, via } of container.routes)
    if (!routes.some((route) => route.to === to && route.via === via && route.link === link.index))
      problems.push(`the route ${to}${via === undefined ? '' : ` via ${via}`} is missing`);
  return problems;
}
