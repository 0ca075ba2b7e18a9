// Nodes that join and leave a running cluster: the settings that follow, and what is left of a node that goes. The
// decisions are pure.
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deletePinnedNamespace } from '../linux/mount.ts';
import { inMountNamespace } from '../linux/mount-namespace.ts';
import { deleteNamedNetns } from '../linux/netns.ts';
import { nodeFiles } from './containerd-config.ts';
import { endProcesses } from './end-processes.ts';
import { identity } from './identities.ts';
import { type ClusterLayout, layoutOf, type NodeLayout } from './layout.ts';
import { formatPortRange } from './node-port-range.ts';
import { removeProcessFile } from './process-file.ts';
import { nodeProcesses } from './process-plans.ts';
import { type ClusterSettings, decideSettings } from './settings.ts';

/** The settings with one node more: the one of the lowest free number. Throws a SettingsError where none fits. */
export function withNode(settings: ClusterSettings): { readonly settings: ClusterSettings; readonly added: number } {
  const taken = new Set(settings.members);
  let added = 0;
  while (taken.has(added)) added++;
  const members = [...settings.members, added].sort((a, b) => a - b);
  // Whether so many nodes fit, in their number and in the ranges, is judged as at the first `up`.
  const [podCidr, serviceCidr] = [settings.podCidrs.join(','), settings.serviceCidrs.join(',')];
  const nodePortRange = formatPortRange(settings.nodePortRange);
  decideSettings({ ...settings, nodes: members.length, podCidr, serviceCidr, nodePortRange });
  return { settings: { ...settings, members, nodes: members.length }, added };
}

/** The settings without that node. Throws an Error where it cannot be taken away. */
export function withoutNode(settings: ClusterSettings, node: NodeLayout): ClusterSettings {
  if (node.controlPlane)
    throw new Error(`${node.name} runs the API server and cannot be removed; './weft down' removes the whole cluster`);
  const members = settings.members.filter((number) => number !== node.number);
  return { ...settings, members, nodes: members.length };
}

/** The node of that name, with or without the cluster's in it. Throws an Error that lists those that are there. */
export function findNode(layout: ClusterLayout, which: string): NodeLayout {
  const found = layout.nodes.find(({ name, role }) => name === which || role === which);
  if (found === undefined)
    throw new Error(`there is no node '${which}'; there are ${layout.nodes.map(({ name }) => name).join(', ')}`);
  return found;
}

/**
 * Nodes that are no members any more though they have a folder still: something ended their removal half-way. `roles`
 * are the folders' names.
 */
export function halfRemoved(settings: ClusterSettings, roles: readonly string[]): NodeLayout[] {
  const numbers = roles.map((role) => Number(/^worker(\d*)$/.exec(role)?.[1]?.replace(/^$/, '1') ?? 0));
  const members = numbers.filter((number) => number > 0 && !settings.members.includes(number));
  return members.flatMap((number) => layoutOf({ ...settings, members: [number] }).nodes);
}

/** Ends what runs on a node and removes its namespaces, files, certificates and logs. */
export function removeNodeTraces(layout: ClusterLayout, node: NodeLayout): void {
  endProcesses(node.cgroup);
  deletePinnedNamespace(node.mountNamespace);
  deletePinnedNamespace(node.utsNamespace);
  deleteNamedNetns(node.name);
  for (const folder of [node.run, node.state]) rmSync(folder, { recursive: true, force: true });
  for (const of of Object.values(nodeProcesses)) removeProcessFile(layout.pids, of(node));
  for (const name of [identity.agent(node), identity.kubelet(node)])
    for (const kind of ['crt', 'key']) rmSync(join(layout.pki, `${name}.${kind}`), { force: true });
  for (const part of ['agent', 'containerd']) rmSync(join(layout.logs, `${node.role}-${part}.log`), { force: true });
}

/** Writes the names of all nodes into every node's /etc/hosts. */
export function writeHosts(layout: ClusterLayout): void {
  for (const node of layout.nodes) {
    const hosts = nodeFiles(layout, node).find(({ path }) => path === '/etc/hosts');
    if (hosts !== undefined) inMountNamespace(node.mountNamespace, () => writeFileSync(hosts.path, hosts.text));
  }
}
