// What load balancers need in the API: deploy/load-balancer.yml, created where it is missing; the pool of --lb-pool.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, isAlreadyExists, isNotFound } from '../k8s/client.ts';
import type { KubeObject, Resource } from '../k8s/object.ts';
import {
  clusterRoleBindings,
  clusterRoles,
  customResourceDefinitions,
  namespaces,
  roleBindings,
  roles,
} from '../k8s/resources.ts';
import { projectRoot } from './programs.ts';

const resources: Record<string, Resource<KubeObject>> = {
  CustomResourceDefinition: customResourceDefinitions,
  Namespace: namespaces,
  ClusterRole: clusterRoles,
  ClusterRoleBinding: clusterRoleBindings,
  Role: roles,
  RoleBinding: roleBindings,
};

const file = (): string => join(projectRoot(), 'deploy', 'load-balancer.yml');

async function readObjects(): Promise<KubeObject[]> {
  const { parseAllDocuments } = await import('yaml');
  return parseAllDocuments(readFileSync(file(), 'utf8')).map((document) => {
    const object: unknown = document.toJS();
    if (!isObject(object)) throw new Error(`${file()} holds something that is no object`);
    return object;
  });
}

/** Creates the objects that are not there; what a user has changed stays. */
export async function ensureLoadBalancerKinds(client: Client): Promise<void> {
  const objects = await readObjects();
  // Those within the namespace come after it.
  for (const inNamespace of [false, true])
    await Promise.all(
      objects
        .filter(({ metadata }) => (metadata.namespace !== undefined) === inNamespace)
        .map((object) => ensureObject(client, object)),
    );
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
