// Which container instance a request means, and what to say when there is none. Texts as kubelet's and kubectl's users
// know them (pkg/kubelet/kubelet_pods.go, validateContainerLogStatus and RunInContainer).
import type { ContainerStatus, Status } from '../../k8s/types.generated.ts';
import type { PodContainer, PodInstance } from '../runtime.ts';

export type Found<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly failure: Failure };

export interface Failure {
  readonly code: number;
  readonly message: string;
}

const fail = (code: number, message: string): { ok: false; failure: Failure } => ({
  ok: false,
  failure: { code, message },
});

/** The instance to exec into or attach to. */
export function runningContainer(instance: PodInstance | undefined, container: string): Found<PodContainer> {
  if (instance === undefined) return fail(404, 'pod does not exist');
  const running = newestFirst(instance, container).find((one) => one.state === 'running');
  return running === undefined
    ? fail(500, `container not found (${JSON.stringify(container)})`)
    : { ok: true, value: running };
}

/** The instance whose log is wanted: the current one, or the one before it. */
export function loggedContainer(
  instance: PodInstance | undefined,
  names: { namespace: string; pod: string; container: string },
  previous: boolean,
): Found<PodContainer> {
  const { pod, container } = names;
  if (instance === undefined) return fail(404, `pod ${JSON.stringify(pod)} not found on this node`);
  const spec = instance.pod.spec;
  const known = [...(spec?.containers ?? []), ...(spec?.initContainers ?? []), ...(spec?.ephemeralContainers ?? [])];
  if (!known.some((one) => one.name === container))
    return fail(400, `container ${container} is not valid for pod ${pod}`);
  const [newest, ...older] = newestFirst(instance, container).filter((one) => one.state !== 'created');
  if (previous) {
    // After a crash and before the restart, the newest instance is itself the previous one.
    const ended = statusOf(instance, container)?.state?.waiting && newest?.state === 'exited' ? newest : older[0];
    return ended === undefined
      ? fail(400, `previous terminated container ${JSON.stringify(container)} in pod ${JSON.stringify(pod)} not found`)
      : { ok: true, value: ended };
  }
  if (newest !== undefined) return { ok: true, value: newest };
  const waiting = statusOf(instance, container)?.state?.waiting;
  const where = `container ${JSON.stringify(container)} in pod ${JSON.stringify(pod)}`;
  switch (waiting?.reason) {
    case 'ErrImagePull':
    case 'ImagePullBackOff':
    case 'ErrImageNeverPull':
    case 'InvalidImageName':
      return fail(400, `${where} is waiting to start: trying and failing to pull image`);
    case undefined:
    case '':
      return fail(400, `${where} is waiting to start - no logs yet`);
    default:
      return fail(400, `${where} is waiting to start: ${waiting?.reason}`);
  }
}

function newestFirst(instance: PodInstance, container: string): PodContainer[] {
  return instance.containers.filter((one) => one.name === container).sort((a, b) => b.attempt - a.attempt);
}

function statusOf(instance: PodInstance, container: string): ContainerStatus | undefined {
  const status = instance.pod.status;
  return [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])].find(
    (one) => one.name === container,
  );
}

const reasons: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
};

export function statusOfFailure({ code, message }: Failure): Status {
  const reason = reasons[code] ?? 'InternalError';
  return { apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Failure', message, reason, code };
}
