// What load balancers need in the API: deploy/load-balancer.yml, created where it is missing; the pool of --lb-pool.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, isAlreadyExists, isNotFound } from '../k8s/client.ts';
import { type IPAddressPool, ipAddressPools, l2Advertisements } from '../k8s/load-balancer.ts';
import type { KubeObject, Resource } from '../k8s/object.ts';
import {
  clusterRoleBindings,
  clusterRoles,
  customResourceDefinitions,
  namespaces,
  roleBindings,
  roles,
} from '../k8s/resources.ts';
import { lbPoolSpans } from './lb-pool.ts';
import { projectRoot } from './programs.ts';

const resources: Record<string, Resource<KubeObject>> = {
  CustomResourceDefinition: customResourceDefinitions,
  Namespace: namespaces,
  ClusterRole: clusterRoles,
  ClusterRoleBinding: clusterRoleBindings,
  Role: roles,
  RoleBinding: roleBindings,
};

const poolKey = { namespace: 'metallb-system', name: 'default' } as const;
/** An annotation of the namespace: the pool of --lb-pool was made. */
const poolMadeAnnotation = 'weft.dev/lb-pool';

const file = (): string => join(projectRoot(), 'deploy', 'load-balancer.yml');

async function readObjects(): Promise<KubeObject[]> {
  const { parseAllDocuments } = await import('yaml');
  return parseAllDocuments(readFileSync(file(), 'utf8')).map((document) => {
    const object: unknown = document.toJS();
    if (!isObject(object)) throw new Error(`${file()} holds something that is no object`);
    return object;
  });
}

/** Creates the objects that are not there; what a user has changed stays. `lbPool` is the setting of that name. */
export async function ensureLoadBalancers(client: Client, lbPool: string): Promise<void> {
  await ensureKinds(client);
  const addresses = lbPoolSpans(lbPool);
  if (addresses.length > 0) await ensurePool(client, addresses);
}

async function ensureKinds(client: Client): Promise<void> {
  const objects = await readObjects();
  // Those within the namespace come after it.
  for (const inNamespace of [false, true])
    await Promise.all(
      objects
        .filter(({ metadata }) => (metadata.namespace !== undefined) === inNamespace)
        .map((object) => ensureObject(client, object)),
    );
}

/** The pool and its announcement, once: where a user has deleted them, they stay deleted. */
async function ensurePool(client: Client, addresses: string[]): Promise<void> {
  const key = { name: poolKey.namespace };
  const { metadata } = await client.get(namespaces, key);
  if (metadata.annotations?.[poolMadeAnnotation] !== undefined) return;
  const pool: IPAddressPool = {
    apiVersion: 'metallb.io/v1beta1',
    kind: 'IPAddressPool',
    metadata: { ...poolKey },
    spec: { addresses, autoAssign: true, avoidBuggyIPs: true },
  };
  await client.create(ipAddressPools, pool).catch(ignoreExisting);
  const announced = { ...pool, kind: 'L2Advertisement', spec: { ipAddressPools: [poolKey.name] } };
  await client.create(l2Advertisements, announced).catch(ignoreExisting);
  const body = { metadata: { annotations: { [poolMadeAnnotation]: addresses.join(',') } } };
  await client.patch(namespaces, key, { type: 'merge', body });
}

async function ensureObject(client: Client, object: KubeObject): Promise<void> {
  const resource = resources[object.kind];
  if (resource === undefined) throw new Error(`${file()}: the kind ${object.kind} is not known here`);
  const { name = '', namespace } = object.metadata;
  try {
    await client.get(resource, { name, namespace });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    await client.create(resource, object).catch(ignoreExisting);
  }
}

function ignoreExisting(error: unknown): void {
  if (!isAlreadyExists(error)) throw error;
}

function isObject(value: unknown): value is KubeObject {
  return typeof value === 'object' && value !== null && 'kind' in value && 'apiVersion' in value && 'metadata' in value;
}
