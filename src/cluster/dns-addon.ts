// Cluster DNS as objects: deploy/dns/corefile.yaml, and node-local.yaml with the cluster's own addresses, created where it is missing.
import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Client, isNotFound } from '../k8s/client.ts';
import type { KubeObject, Resource } from '../k8s/object.ts';
import {
  clusterRoleBindings,
  clusterRoles,
  configMaps,
  daemonSets,
  serviceAccounts,
  services,
} from '../k8s/resources.ts';
import type { ConfigMap, DaemonSet, Service } from '../k8s/types.generated.ts';
import { forwardTargets } from './dns-settings.ts';
import { dnsAddresses } from './layout.ts';
import { programsFolder } from './node-mounts.ts';
import { projectRoot } from './programs.ts';
import type { ClusterSettings } from './settings.ts';

/** What of a cluster's settings its DNS has to know. */
export type DnsAddonSettings = Pick<ClusterSettings, 'serviceCidrs' | 'podCidrs' | 'underlay' | 'dnsUpstreams'>;

export const dnsImage = 'weft.local/dns-node:1';

const resources: Record<string, Resource<KubeObject>> = {
  ConfigMap: configMaps,
  ServiceAccount: serviceAccounts,
  ClusterRole: clusterRoles,
  ClusterRoleBinding: clusterRoleBindings,
  Service: services,
  DaemonSet: daemonSets,
};

/** The objects of cluster DNS with the Service at those addresses, one of each family. */
export async function dnsObjects(settings: DnsAddonSettings): Promise<KubeObject[]> {
  const { parseAllDocuments } = await import('yaml');
  const folder = join(projectRoot(), 'deploy', 'dns');
  return ['corefile.yaml', 'node-local.yaml'].flatMap((name) =>
    parseAllDocuments(readFileSync(join(folder, name), 'utf8')).flatMap((document): KubeObject[] => {
      const object: unknown = document.toJS();
      if (object === null) return [];
      if (!isObject(object)) throw new Error(`${join(folder, name)} holds something that is no object`);
      return [adapted(object, settings)];
    }),
  );
}

/** Creates the objects that are not there; what a user has changed stays. */
export async function ensureDns(client: Client, settings: DnsAddonSettings): Promise<void> {
  const objects = await dnsObjects(settings);
  // Its pods need all of the others.
  for (const last of [false, true])
    await Promise.all(objects.filter((one) => isDaemonSet(one) === last).map((one) => ensureObject(client, one)));
}

async function ensureObject(client: Client, object: KubeObject): Promise<void> {
  const resource = resources[object.kind];
  if (resource === undefined) throw new Error(`deploy/dns: the kind ${object.kind} is not known here`);
  const { name = '', namespace } = object.metadata;
  try {
    await client.get(resource, { name, namespace });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    await client.create(resource, object);
  }
}

/** As this cluster needs it: with its addresses, and with the Node.js of its machine. */
function adapted(object: KubeObject, settings: DnsAddonSettings): KubeObject {
  const addresses = dnsAddresses(settings);
  if (isService(object)) return withAddresses(object, addresses);
  if (isConfigMap(object)) return withUpstreams(object, settings);
  return isDaemonSet(object) ? withPrograms(object, settings) : object;
}

const isService = (object: KubeObject): object is Service => object.kind === 'Service';
const isConfigMap = (object: KubeObject): object is ConfigMap => object.kind === 'ConfigMap';
const isDaemonSet = (object: KubeObject): object is DaemonSet => object.kind === 'DaemonSet';

function withAddresses(service: Service, clusterIPs: readonly string[]): Service {
  const [clusterIP = ''] = clusterIPs;
  return {
    ...service,
    spec: { ...service.spec, clusterIP, clusterIPs: [...clusterIPs], ipFamilyPolicy: 'PreferDualStack' },
  };
}

/** The lines of corefile.yaml that stand where the upstreams are to be. */
const noForward = /^( *)#[^\n]*\n *# forward \. [^\n]*\{\n *#[^\n]*\n *# \}$/m;

/** Only typed values that were read and written anew go into the text. */
function withUpstreams(map: ConfigMap, { dnsUpstreams }: DnsAddonSettings): ConfigMap {
  const { Corefile = '' } = map.data ?? {};
  if (dnsUpstreams.length === 0) return map;
  if (!noForward.test(Corefile)) throw new Error('deploy/dns/corefile.yaml has no place for upstreams');
  const text = Corefile.replace(noForward, (_, indent: string) =>
    [`forward . ${forwardTargets(dnsUpstreams).join(' ')} {`, '   max_concurrent 1000', '}']
      .map((line) => indent + line)
      .join('\n'),
  );
  return { ...map, data: { ...map.data, Corefile: text } };
}

function withPrograms(set: DaemonSet, settings: DnsAddonSettings): DaemonSet {
  const values: Readonly<Record<string, readonly string[]>> = {
    WEFT_DNS_ADDRESSES: dnsAddresses(settings),
    WEFT_DNS_CLIENTS: [...settings.podCidrs, ...settings.underlay],
  };
  const copy = structuredClone(set);
  const pod = copy.spec?.template.spec;
  for (const container of pod?.containers ?? []) {
    container.image = dnsImage;
    for (const variable of container.env ?? []) {
      const value = values[variable.name];
      if (value !== undefined) variable.value = value.join(',');
    }
    container.volumeMounts = [
      ...(container.volumeMounts ?? []),
      { name: 'node', mountPath: '/usr/bin/node', readOnly: true },
    ];
  }
  const path = join(programsFolder, basename(process.execPath));
  if (pod !== undefined) pod.volumes = [...(pod.volumes ?? []), { name: 'node', hostPath: { path, type: 'File' } }];
  return copy;
}

function isObject(value: unknown): value is KubeObject {
  return typeof value === 'object' && value !== null && 'kind' in value && 'apiVersion' in value && 'metadata' in value;
}
