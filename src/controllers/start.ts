// Starts all controllers of the cluster over shared caches.
import type { Client } from '../k8s/client.ts';
import type { Log } from '../log/log.ts';
import type { Cidr } from '../net/address.ts';
import { createContext } from './context.ts';
import type { Controller } from './controller.ts';
import { runDaemonSets } from './daemonset/controller.ts';
import { runDeployments } from './deployment/controller.ts';
import { runEndpointSlices, runEndpoints } from './endpoints/controllers.ts';
import { runEndpointsMirror } from './endpoints/mirror.ts';
import { runGarbageCollector } from './garbage-collector/controller.ts';
import { runJobs } from './job/controller.ts';
import { runNamespaces } from './namespace.ts';
import { runNodeLifecycle } from './node/lifecycle.ts';
import { defaultNodeMaskSize, type NodeMaskSize, runNodeIpam } from './node-ipam.ts';
import { runPodGc } from './pod-gc.ts';
import { runReplicaSets } from './replicaset.ts';
import { runServiceAccounts } from './service-account.ts';
import { runServiceCidrs } from './service-cidr/controller.ts';
import type { PortRange } from './service-cidr/decide.ts';
import { runServiceAddressRepair } from './service-cidr/repair.ts';
import { runStatefulSets } from './statefulset/controller.ts';

export interface ControllersOptions {
  readonly client: Client;
  /** The pod ranges of the cluster, one for each family. */
  readonly clusterCidrs: readonly Cidr[];
  /** The prefix length of a node's share (default /24 and /64). */
  readonly nodeMaskSize?: Partial<NodeMaskSize>;
  /** Nodes that will register, in the order in which they get their shares of the pod ranges. */
  readonly expectedNodes?: readonly string[];
  /** The PEM of the authority that pods trust: goes into the ConfigMap kube-root-ca.crt of every namespace. */
  readonly serviceAccountRootCa: string;
  /** The node ports that Services may have (default 30000–32767). */
  readonly nodePortRange?: PortRange;
  readonly log: Log;
}

/** Starts the controllers; each begins once its caches are filled. */
export async function startControllers(options: ControllersOptions): Promise<{ stop(): Promise<void> }> {
  const context = createContext(options.client, options.log);
  const nodeMaskSize = { ...defaultNodeMaskSize, ...options.nodeMaskSize };
  const controllers: Controller[] = [
    runNodeIpam(context, options.clusterCidrs, nodeMaskSize, options.expectedNodes),
    runNodeLifecycle(context),
    runPodGc(context),
    runServiceAccounts(context, options.serviceAccountRootCa),
    runDeployments(context),
    runReplicaSets(context),
    runDaemonSets(context),
    runStatefulSets(context),
    runJobs(context),
    runEndpointSlices(context),
    runEndpoints(context),
    runEndpointsMirror(context),
    runServiceCidrs(context),
    runServiceAddressRepair(context, options.nodePortRange ?? { from: 30000, to: 32767 }),
    runNamespaces(context),
    runGarbageCollector(context),
  ];
  return {
    async stop() {
      await Promise.all(controllers.map((controller) => controller.stop()));
      context.stop();
    },
  };
}
