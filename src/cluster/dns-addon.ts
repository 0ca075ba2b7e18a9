// Cluster DNS as objects: deploy/dns.yml with the cluster's own addresses, created where it is missing.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Client, isNotFound } from '../k8s/client.ts';
import type { KubeObject, Resource } from '../k8s/object.ts';
import { deployments, serviceAccounts, services } from '../k8s/resources.ts';
import { projectRoot } from './programs.ts';

export const dnsImage = 'weft.local/dns:1';

const resources: Record<string, Resource<KubeObject>> = {
  ServiceAccount: serviceAccounts,
  Service: services,
  Deployment: deployments,
};

/** The objects of cluster DNS with the Service at those addresses, one of each family. */
async function dnsObjects(addresses: readonly string[]): Promise<KubeObject[]> {
  const { parseAllDocuments } = await import('yaml');
  const file = join(projectRoot(), 'deploy', 'dns.yml');
  const objects: KubeObject[] = [];
  for (const document of parseAllDocuments(readFileSync(file, 'utf8'))) {
    const object: unknown = document.toJS();
    if (object === null) continue;
    if (!isObject(object)) throw new Error(`${file} holds something that is no object`);
    objects.push(object.kind === 'Service' ? withAddresses(object, addresses) : object);
  }
  return objects;
}

/** Creates the objects that are not there; what a user has changed stays. */
export async function ensureDns(client: Client, addresses: readonly string[]): Promise<void> {
  for (const object of await dnsObjects(addresses)) {
    const resource = resources[object.kind];
    if (resource === undefined) throw new Error(`deploy/dns.yml: the kind ${object.kind} is not known here`);
    const { name = '', namespace } = object.metadata;
    try {
      await client.get(resource, { name, namespace });
    } catch (error) {
      if (!isNotFound(error)) throw error;
      await client.create(resource, object);
    }
  }
}

function withAddresses(service: KubeObject, clusterIPs: readonly string[]): KubeObject {
  const spec = 'spec' in service && typeof service.spec === 'object' ? service.spec : {};
  return {
    ...service,
    spec: { ...spec, clusterIP: clusterIPs[0], clusterIPs, ipFamilyPolicy: 'PreferDualStack' },
  } as KubeObject;
}

function isObject(value: unknown): value is KubeObject {
  return typeof value === 'object' && value !== null && 'kind' in value && 'apiVersion' in value && 'metadata' in value;
}
