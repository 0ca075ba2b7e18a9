// Keeps one IPAddress object for each cluster address of a Service (KEP-1880). The addresses are given by
// admission/service-addresses.ts; who deletes an IPAddress by hand meets the repair controller.
import type { IPAddress, Service } from '../k8s/types.generated.ts';
import { familyOf, type Ip, parseIp } from '../net/address.ts';
import type { Api } from './api.ts';
import { deleteObject } from './delete.ts';
import { type Kind, shelves } from './kinds.ts';
import { type ApiObject, typed } from './object.ts';
import { readDeleteOptions } from './options.ts';
import { createObject } from './write.ts';

/** Makes what is missing for the stored Services, then follows the changes. Call it once, before the server listens. */
export function followServiceAddresses(api: Api): void {
  const kind = api.registry.find('networking.k8s.io', 'v1', 'ipaddresses');
  if (kind === undefined) throw new Error('the registry has no ipaddresses');
  for (const service of api.storage.list(shelves.services)) settle(api, kind, service, addressesOf(service));
  api.storage.subscribe(shelves.services, ({ object, old }) => {
    const before = old === undefined ? [] : addressesOf(old);
    const now = addressesOf(object);
    const isSame = old !== undefined && before.join() === now.join() && api.storage.get(...placeOf(object)) === object;
    // Writes wait until all listeners of this change were called: they must see the revisions in order.
    if (!isSame) queueMicrotask(() => settle(api, kind, object, [...new Set([...before, ...now])]));
  });
}

const placeOf = ({ metadata }: ApiObject): [shelf: string, namespace: string, name: string] => [
  shelves.services,
  metadata.namespace ?? '',
  metadata.name ?? '',
];

const addressesOf = (service: ApiObject): Ip[] =>
  (typed<Service>(service).spec.clusterIPs ?? []).map(parseIp).filter((ip) => ip !== undefined);

/** Creates the IPAddresses that the Service of that name has now, and deletes those of `addresses` that it had. */
function settle(api: Api, kind: Kind, { metadata }: ApiObject, addresses: readonly Ip[]): void {
  const { name = '', namespace = '' } = metadata;
  const stored = api.storage.get(shelves.services, namespace, name);
  const held = new Set(stored === undefined ? [] : addressesOf(stored));
  for (const address of addresses) {
    const present = api.storage.get(shelves.ipAddresses, '', address);
    if (held.has(address)) {
      if (present === undefined) create(api, kind, address, namespace, name);
    } else if (present !== undefined && isOf(present, namespace, name))
      deleteObject(api, kind, '', address, readDeleteOptions({}));
  }
}

function create(api: Api, kind: Kind, address: Ip, namespace: string, name: string): void {
  const labels = {
    'ipaddress.kubernetes.io/ip-family': familyOf(address),
    'ipaddress.kubernetes.io/managed-by': 'ipallocator.k8s.io',
  };
  const object: ApiObject = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IPAddress',
    metadata: { name: address, labels },
    spec: { parentRef: { group: '', resource: 'services', namespace, name } },
  };
  createObject(api, kind, object, '', { dryRun: false, manager: 'kube-apiserver' });
}

function isOf(object: ApiObject, namespace: string, name: string): boolean {
  const { parentRef } = typed<IPAddress>(object).spec;
  const isService = (parentRef.group ?? '') === '' && parentRef.resource === 'services';
  return isService && parentRef.namespace === namespace && parentRef.name === name;
}
