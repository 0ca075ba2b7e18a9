// How each process of a cluster is started: its command in the node's namespaces, its environment, its log. Pure, but
// for the environment.
import { join } from 'node:path';
import { netnsPath, nsenterCommand } from '../linux/netns.ts';
import { containerdEnvironment } from './containerd-config.ts';
import type { ClusterLayout, NodeLayout } from './layout.ts';
import { agentCommand, containerdCommand, controlPlaneCommand } from './programs.ts';
import type { ProcessPlan } from './supervised.ts';

/** Names of the processes of a node. */
export const nodeProcesses = {
  containerd: (node: NodeLayout): string => `${node.role}/containerd`,
  agent: (node: NodeLayout): string => `${node.role}/agent`,
} as const;

export function containerdPlan(layout: ClusterLayout, node: NodeLayout): ProcessPlan {
  const outside = /^(https?|no|all|ftp)_proxy$/i;
  const plain = Object.fromEntries(Object.entries(process.env).filter(([name]) => !outside.test(name)));
  return {
    name: nodeProcesses.containerd(node),
    command: inNode(node, containerdCommand()),
    environment: { ...plain, ...containerdEnvironment },
    logFile: join(layout.logs, `${node.role}-containerd.log`),
    cgroup: join(node.cgroup, 'system'),
    passed: [],
    socket: join(node.containerdRun, 'containerd.sock'),
  };
}

/** `hostNamespaces` are open descriptors, by which it finds back to the host's namespaces (see guard.ts). */
export function controlPlanePlan(layout: ClusterLayout, hostNamespaces: readonly number[]): ProcessPlan {
  const [node] = layout.nodes;
  if (node === undefined) throw new Error('a cluster has at least one node');
  return ownPlan(layout, node, 'control-plane', controlPlaneCommand(layout), hostNamespaces);
}

/** Of libuv, whose usual four are all taken when four pods leave at once: the kernel holds each of them for 20 ms. */
const agentThreads = '16';

export function agentPlan(layout: ClusterLayout, node: NodeLayout, hostNamespaces: readonly number[]): ProcessPlan {
  const plan = ownPlan(layout, node, nodeProcesses.agent(node), agentCommand(layout, node), hostNamespaces);
  return { ...plan, environment: { ...plan.environment, UV_THREADPOOL_SIZE: agentThreads } };
}

function ownPlan(
  layout: ClusterLayout,
  node: NodeLayout,
  name: string,
  command: readonly string[],
  passed: readonly number[],
): ProcessPlan {
  return {
    name,
    command: inNode(node, command),
    environment: process.env,
    logFile: join(layout.logs, `${name.replace('/', '-')}.log`),
    cgroup: join(node.cgroup, 'system'),
    passed,
  };
}

function inNode(node: NodeLayout, command: readonly string[]): string[] {
  return nsenterCommand({ net: netnsPath(node.name), mnt: node.mountNamespace, uts: node.utsNamespace }, command);
}
