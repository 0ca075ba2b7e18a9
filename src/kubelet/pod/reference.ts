// What an event is about: the pod, or one of its containers.
import type { ObjectReference, Pod } from '../../k8s/types.generated.ts';

/** A reference to a pod; with a container's name it points to that container in the spec, as `kubectl describe` shows. */
export function referenceTo(pod: Pod, container?: string): ObjectReference {
  const { name, namespace, uid, resourceVersion } = pod.metadata;
  const fieldPath = container === undefined ? undefined : pathOf(pod, container);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    ...(name === undefined ? {} : { name }),
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(fieldPath === undefined ? {} : { fieldPath }),
  };
}

function pathOf(pod: Pod, container: string): string {
  const named = ({ name }: { name: string }): boolean => name === container;
  const list = pod.spec.initContainers?.some(named)
    ? 'initContainers'
    : pod.spec.ephemeralContainers?.some(named)
      ? 'ephemeralContainers'
      : 'containers';
  return `spec.${list}{${container}}`;
}
