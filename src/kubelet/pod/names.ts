// Names by which pods and containers are found again: labels and annotations in the runtime, folders on the node.
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Container, Pod } from '../../k8s/types.generated.ts';

/** Labels and annotations as kubelet writes them (kubernetes pkg/kubelet/types/labels.go, kuberuntime/labels.go). */
export const label = {
  podName: 'io.kubernetes.pod.name',
  podNamespace: 'io.kubernetes.pod.namespace',
  podUid: 'io.kubernetes.pod.uid',
  containerName: 'io.kubernetes.container.name',
} as const;

export const annotation = {
  hash: 'io.kubernetes.container.hash',
  restartCount: 'io.kubernetes.container.restartCount',
  terminationMessagePath: 'io.kubernetes.container.terminationMessagePath',
  terminationMessagePolicy: 'io.kubernetes.container.terminationMessagePolicy',
  terminationGracePeriod: 'io.kubernetes.pod.terminationGracePeriod',
} as const;

/** Which pod: enough to name it in messages and to find it in the runtime. */
export interface PodKey {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
}

export function podKey(pod: Pod): PodKey {
  const { uid = '', name = '', namespace = '' } = pod.metadata;
  return { uid, name, namespace };
}

/** `name_namespace(uid)`, as in kubelet's messages. */
export const podText = (pod: PodKey): string => `${pod.name}_${pod.namespace}(${pod.uid})`;

/** A running container whose image in the spec has changed is replaced; nothing else of it can change. */
export function containerHash(container: Pick<Container, 'name' | 'image'>): string {
  const text = JSON.stringify({ name: container.name, image: container.image ?? '' });
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

/** The folders and files of one pod below kubelet's root folder. */
export function podPaths(rootDir: string, uid: string) {
  const pod = join(rootDir, 'pods', uid);
  return {
    pod,
    volumes: join(pod, 'volumes'),
    /** The folder of one volume, named after the plugin as upstream names it. */
    volume: (plugin: string, name: string): string => join(pod, 'volumes', `kubernetes.io~${plugin}`, name),
    etcHosts: join(pod, 'etc-hosts'),
    containers: join(pod, 'containers'),
    /** The termination message of one instance of a container. */
    terminationLog: (container: string, attempt: number): string => join(pod, 'containers', container, String(attempt)),
  };
}

/** The folder of a pod's logs, which `kubectl logs` and log collectors read. */
export const podLogDir = (podLogsDir: string, pod: PodKey): string =>
  join(podLogsDir, `${pod.namespace}_${pod.name}_${pod.uid}`);
