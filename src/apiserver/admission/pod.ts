// What the server adds to a new pod: its ServiceAccount with the token volume, tolerations, priority, first status.
import type { Container, Pod, PodSpec, ServiceAccount, Toleration, Volume } from '../../k8s/types.generated.ts';
import { shelves } from '../kinds.ts';
import { randomName } from '../names.ts';
import { type ApiObject, sameJson, textAt, typed } from '../object.ts';
import { forbidden } from '../schema/errors.ts';
import type { Storage } from '../storage.ts';

const pods = { group: '', resource: 'pods' };
const tokenPath = '/var/run/secrets/kubernetes.io/serviceaccount';

/** Admission of a new pod, in the order of Kubernetes' plugins. Throws 403 where its ServiceAccount is not there. */
export function admitPod(object: ApiObject, storage: Storage): void {
  const pod = typed<Pod>(object);
  useServiceAccount(pod, serviceAccountOf(object), storage);
  addTolerations(pod.spec);
  setPriority(pod);
}

/** The first status of a pod; whatever the client sent as status is dropped. */
export function firstPodStatus(object: ApiObject): void {
  object.status = { phase: 'Pending', qosClass: qosClass(typed<Pod>(object).spec) };
}

const serviceAccountOf = (object: ApiObject): string => {
  const { spec } = object;
  return textAt(spec, 'serviceAccountName') || textAt(spec, 'serviceAccount') || 'default';
};

/** How long a new pod waits for its ServiceAccount: a new namespace gets the default one a moment after it is made. */
const accountMilliseconds = 1000;

/** Resolves when the pod's ServiceAccount is there, or has not come in time; admission then says that it is missing. */
export async function awaitServiceAccount(object: ApiObject, namespace: string, storage: Storage): Promise<void> {
  const name = serviceAccountOf(object);
  if (storage.get(shelves.serviceAccounts, namespace, name) !== undefined) return;
  if (storage.get(shelves.namespaces, '', namespace) === undefined) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      unsubscribe();
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(done, accountMilliseconds);
    const unsubscribe = storage.subscribe(shelves.serviceAccounts, ({ object: { metadata } }) => {
      if (metadata.namespace === namespace && metadata.name === name) done();
    });
  });
}

function useServiceAccount({ spec, metadata }: Pod, name: string, storage: Storage): void {
  const namespace = metadata.namespace ?? '';
  spec.serviceAccountName = name;
  spec.serviceAccount = name;
  const stored = storage.get(shelves.serviceAccounts, namespace, name);
  if (stored === undefined)
    throw forbidden(
      pods,
      metadata.name ?? '',
      `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`,
    );
  const account = typed<ServiceAccount>(stored);
  if (spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true) mountToken(spec);
  if (!spec.imagePullSecrets?.length && account.imagePullSecrets?.length)
    spec.imagePullSecrets = structuredClone(account.imagePullSecrets);
}

const hasToken = (container: Container): boolean =>
  container.volumeMounts?.some((mount) => mount.mountPath === tokenPath) ?? false;

/** The token, the cluster's authority and the namespace as a projected volume (kubernetes, plugin/pkg/admission/serviceaccount). */
function mountToken(spec: PodSpec): void {
  const lacking = [...(spec.initContainers ?? []), ...spec.containers].filter((container) => !hasToken(container));
  if (lacking.length === 0) return;
  const existing = spec.volumes?.find(({ name }) => name.startsWith('kube-api-access-'))?.name;
  const name = existing ?? `kube-api-access-${randomName(5)}`;
  for (const container of lacking) {
    container.volumeMounts ??= [];
    container.volumeMounts.push({ name, readOnly: true, mountPath: tokenPath });
  }
  if (existing !== undefined) return;
  const volume: Volume = {
    name,
    projected: {
      defaultMode: 0o644,
      sources: [
        { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        {
          downwardAPI: {
            items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
          },
        },
      ],
    },
  };
  spec.volumes = [...(spec.volumes ?? []), volume];
}

/** A pod stays for five minutes on a node that is lost, unless it says otherwise. */
function addTolerations(spec: PodSpec): void {
  const tolerations = spec.tolerations ?? [];
  for (const key of ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable']) {
    const present = tolerations.some(
      (one: Toleration) => (one.key === key || !one.key) && (one.effect === 'NoExecute' || !one.effect),
    );
    if (!present) tolerations.push({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 300 });
  }
  spec.tolerations = tolerations;
}

/** The classes that every cluster has; others are not served. */
const priorities: Readonly<Record<string, number>> = {
  'system-cluster-critical': 2_000_000_000,
  'system-node-critical': 2_000_001_000,
};

function setPriority({ spec, metadata }: Pod): void {
  const name = spec.priorityClassName ?? '';
  const priority = name === '' ? 0 : priorities[name];
  if (priority === undefined)
    throw forbidden(pods, metadata.name ?? '', `no PriorityClass with name ${name} was found`);
  if (spec.priority !== undefined && spec.priority !== priority)
    throw forbidden(
      pods,
      metadata.name ?? '',
      `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${priority} from the given PriorityClass name`,
    );
  spec.priority = priority;
  spec.preemptionPolicy ??= 'PreemptLowerPriority';
}

/** Guaranteed, Burstable or BestEffort (kubernetes, pkg/apis/core/v1/helper/qos). */
function qosClass(spec: PodSpec): string {
  const compute = ['cpu', 'memory'] as const;
  let any = false;
  let guaranteed = true;
  for (const { resources } of [...spec.containers, ...(spec.initContainers ?? [])]) {
    const requests: Record<string, unknown> = resources?.requests ?? {};
    const limits: Record<string, unknown> = resources?.limits ?? {};
    for (const name of compute) {
      if (!isZero(requests[name]) || !isZero(limits[name])) any = true;
      if (isZero(limits[name]) || !sameJson(requests[name] ?? limits[name], limits[name])) guaranteed = false;
    }
  }
  if (!any) return 'BestEffort';
  return guaranteed ? 'Guaranteed' : 'Burstable';
}

const isZero = (quantity: unknown): boolean =>
  quantity === undefined || quantity === null || Number.parseFloat(String(quantity)) === 0;
