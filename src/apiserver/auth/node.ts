// What a node's own identity (system:node:NAME) may do: the rules of Kubernetes' Node authorizer, which ties secrets,
// ConfigMaps and tokens to the pods that run there, and of its NodeRestriction admission, which ties writes to the
// node's own objects (plugin/pkg/auth/authorizer/node, plugin/pkg/admission/noderestriction).
import type { Pod, PodSpec } from '../../k8s/types.generated.ts';
import type { Decision, PolicySource, ResourceAttributes } from './authorize.ts';

const allowed: Decision = { allowed: true, reason: '' };
const refused = (reason: string): Decision => ({ allowed: false, reason });
const noOpinion = refused('');

const reading = ['get', 'list', 'watch'];
const writing = ['create', 'update', 'patch'];

/** What every node may read of the whole cluster: it runs pods, the Service proxy and the routes between nodes. */
const readable = new Set([
  '/nodes',
  '/pods',
  '/services',
  '/endpoints',
  '/namespaces',
  'discovery.k8s.io/endpointslices',
  'networking.k8s.io/networkpolicies',
  'networking.k8s.io/servicecidrs',
]);

export function authorizeNode(nodeName: string, attributes: ResourceAttributes, policy: PolicySource): Decision {
  const { verb, group, resource, subresource, name } = attributes;
  const kind = `${group}/${resource}`;
  if (!subresource && readable.has(kind) && reading.includes(verb)) return allowed;
  switch (kind) {
    case '/events':
    case 'events.k8s.io/events':
      return writing.includes(verb) ? allowed : noOpinion;
    case 'authentication.k8s.io/tokenreviews':
    case 'authorization.k8s.io/subjectaccessreviews':
      return verb === 'create' ? allowed : noOpinion;
    case 'coordination.k8s.io/leases':
      return attributes.namespace === 'kube-node-lease' && (name === undefined ? verb === 'create' : name === nodeName)
        ? allowed
        : refused('can only access node lease with the same name as the requesting node');
    case '/nodes':
      if (!['create', 'update', 'patch', 'get'].includes(verb)) return noOpinion;
      return name === undefined || name === nodeName
        ? allowed
        : refused(`node ${JSON.stringify(nodeName)} is not allowed to modify node ${JSON.stringify(name)}`);
    case '/pods':
      return authorizePod(nodeName, attributes, policy);
    case '/secrets':
    case '/configmaps':
      return authorizeMounted(nodeName, attributes, policy.podsOnNode(nodeName));
    case '/serviceaccounts':
      return authorizeToken(nodeName, attributes, policy.podsOnNode(nodeName));
    default:
      return noOpinion;
  }
}

function authorizePod(nodeName: string, attributes: ResourceAttributes, policy: PolicySource): Decision {
  const { verb, subresource, name = '', namespace = '' } = attributes;
  const writesStatus = subresource === 'status' && ['update', 'patch'].includes(verb);
  const deletes = !subresource && verb === 'delete';
  const evicts = subresource === 'eviction' && verb === 'create';
  if (!writesStatus && !deletes && !evicts) return noOpinion;
  const own = policy
    .podsOnNode(nodeName)
    .some((pod) => pod.metadata.name === name && pod.metadata.namespace === namespace);
  const gone = policy.pod !== undefined && policy.pod(namespace, name) === undefined;
  return own || gone ? allowed : refused(`node ${JSON.stringify(nodeName)} can only change pods that run on it`);
}

function authorizeMounted(nodeName: string, attributes: ResourceAttributes, pods: readonly Pod[]): Decision {
  const { verb, resource, subresource, name, namespace } = attributes;
  if (subresource || !reading.includes(verb)) return refused('can only read resources of this type');
  if (name === undefined || namespace === undefined)
    return refused('No Object name found: a node reads these one by one (field selector metadata.name)');
  const mounts = pods.some(
    (pod) => pod.metadata.namespace === namespace && pod.spec && referenced(pod.spec)[resource]?.has(name),
  );
  return mounts ? allowed : refused(`no relationship found between node ${JSON.stringify(nodeName)} and this object`);
}

function authorizeToken(nodeName: string, attributes: ResourceAttributes, pods: readonly Pod[]): Decision {
  const { verb, subresource, name, namespace } = attributes;
  if (subresource !== 'token' || verb !== 'create') return noOpinion;
  return pods.some(
    (pod) => pod.metadata.namespace === namespace && (pod.spec?.serviceAccountName || 'default') === name,
  )
    ? allowed
    : refused(`no relationship found between node ${JSON.stringify(nodeName)} and this object`);
}

/** The names of the Secrets and ConfigMaps that a pod refers to. */
function referenced(spec: PodSpec): Record<string, ReadonlySet<string>> {
  const secrets = new Set<string>();
  const configmaps = new Set<string>();
  const add = (to: Set<string>, name: string | undefined) => name !== undefined && to.add(name);
  for (const pull of spec.imagePullSecrets ?? []) add(secrets, pull.name);
  for (const volume of spec.volumes ?? []) {
    add(secrets, volume.secret?.secretName);
    add(configmaps, volume.configMap?.name);
    for (const source of volume.projected?.sources ?? []) {
      add(secrets, source.secret?.name);
      add(configmaps, source.configMap?.name);
    }
  }
  for (const container of [...(spec.containers ?? []), ...(spec.initContainers ?? [])]) {
    for (const from of container.envFrom ?? []) {
      add(secrets, from.secretRef?.name);
      add(configmaps, from.configMapRef?.name);
    }
    for (const { valueFrom } of container.env ?? []) {
      add(secrets, valueFrom?.secretKeyRef?.name);
      add(configmaps, valueFrom?.configMapKeyRef?.name);
    }
  }
  return { secrets, configmaps };
}
