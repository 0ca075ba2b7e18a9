// Pods and running containers as the tests of this room need them.
import type { Container, Pod, PodSpec } from '../../k8s/types.generated.ts';
import { containerHash } from './names.ts';
import type { PodRuntime, RuntimeContainer, RuntimeSandbox } from './runtime-status.ts';

export const containerOf = (name: string, more: Partial<Container> = {}): Container => ({
  name,
  image: 'busybox:1',
  ...more,
});

export function podOf(spec: Partial<PodSpec> & { containers: Container[] }): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace: 'default', uid: 'u1', generation: 1 },
    spec: { restartPolicy: 'Always', ...spec },
  };
}

export const sandboxOf = (more: Partial<RuntimeSandbox> = {}): RuntimeSandbox => ({
  id: 's0',
  attempt: 0,
  ready: true,
  createdAt: 1000,
  ips: ['10.244.0.2'],
  ...more,
});

export const instanceOf = (name: string, more: Partial<RuntimeContainer> = {}): RuntimeContainer => ({
  id: `${name}-${more.attempt ?? 0}`,
  name,
  attempt: 0,
  sandboxId: 's0',
  state: 'running',
  createdAt: 2000,
  startedAt: 2100,
  finishedAt: 0,
  exitCode: 0,
  reason: '',
  message: '',
  hash: containerHash({ name, image: 'busybox:1' }),
  restartCount: more.attempt ?? 0,
  image: 'busybox:1',
  imageId: 'sha256:1',
  logPath: `/var/log/pods/${name}.log`,
  ...more,
});

export const exitedOf = (name: string, exitCode: number, more: Partial<RuntimeContainer> = {}): RuntimeContainer =>
  instanceOf(name, {
    state: 'exited',
    exitCode,
    reason: exitCode === 0 ? 'Completed' : 'Error',
    finishedAt: 3000,
    ...more,
  });

export const runtimeOf = (
  containers: readonly RuntimeContainer[],
  sandboxes: readonly RuntimeSandbox[] = [sandboxOf()],
): PodRuntime => ({ uid: 'u1', name: 'web', namespace: 'default', sandboxes, containers });
