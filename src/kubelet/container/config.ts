// A container as CRI takes it. Pure. Rules: kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go.
import type { Container, Pod } from '../../k8s/types.generated.ts';
import type { Request } from '../cri/protocol.ts';
import { annotation, containerHash, label, podKey } from '../pod/names.ts';
import { expand } from './expand.ts';
import { linuxResources } from './resources.ts';
import { containerSecurity, type ImageUser } from './security.ts';

export interface ContainerInput {
  readonly pod: Pod;
  readonly container: Container;
  /** How often the container was created before in this pod. */
  readonly attempt: number;
  readonly environment: readonly { readonly key: string; readonly value: string }[];
  readonly mounts: readonly Request<'Mount'>[];
  readonly image: ImageUser & { readonly id: string };
  readonly nodeMemoryBytes: number;
  /** The container whose processes an ephemeral container joins. */
  readonly targetId?: string | undefined;
}

export const terminationPath = (container: Container): string =>
  container.terminationMessagePath || '/dev/termination-log';

/** The configuration to create; throws a ConfigError where the spec cannot be met. */
export function containerConfig(input: ContainerInput): Request<'ContainerConfig'> {
  const { pod, container, attempt, environment } = input;
  const key = podKey(pod);
  const values = new Map(environment.map(({ key: name, value }) => [name, value]));
  const expanded = (texts: readonly string[] = []): string[] =>
    texts.map((text) => expand(text, (name) => values.get(name)));
  return {
    metadata: { name: container.name, attempt },
    image: { image: input.image.id },
    command: expanded(container.command),
    args: expanded(container.args),
    workingDir: container.workingDir ?? '',
    envs: environment,
    mounts: input.mounts,
    labels: {
      [label.podName]: key.name,
      [label.podNamespace]: key.namespace,
      [label.podUid]: key.uid,
      [label.containerName]: container.name,
    },
    annotations: {
      [annotation.hash]: containerHash(container),
      [annotation.restartCount]: String(attempt),
      [annotation.terminationMessagePath]: terminationPath(container),
      [annotation.terminationMessagePolicy]: container.terminationMessagePolicy ?? 'File',
      [annotation.terminationGracePeriod]: String(pod.spec.terminationGracePeriodSeconds ?? 30),
    },
    logPath: `${container.name}/${attempt}.log`,
    stdin: container.stdin === true,
    stdinOnce: container.stdinOnce === true,
    tty: container.tty === true,
    linux: {
      resources: linuxResources(pod, container, input.nodeMemoryBytes),
      securityContext: containerSecurity(pod, container, input.image, input.targetId),
    },
  };
}
