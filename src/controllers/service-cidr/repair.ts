// Repairs what does not fit between Services and their IPAddresses, and tells of what it cannot repair.
import { createIndex } from '../../k8s/cache-index.ts';
import { type Client, isAlreadyExists, isNotFound } from '../../k8s/client.ts';
import { keyOf, type ObjectKey, type Stored } from '../../k8s/object.ts';
import { ipAddresses, serviceCidrs, services } from '../../k8s/resources.ts';
import type { IPAddress, Service } from '../../k8s/types.generated.ts';
import { parseIp } from '../../net/address.ts';
import type { ControllerContext } from '../context.ts';
import { type Controller, runController } from '../controller.ts';
import {
  addressFault,
  addressObject,
  holds,
  isAllocators,
  nodePortsOf,
  type PortRange,
  portFaults,
  readyRanges,
} from './decide.ts';

/** Upstream's interval: a fault that nobody mends is told again. */
const repeatMs = 180_000;

export function runServiceAddressRepair(context: ControllerContext, nodePorts: PortRange): Controller {
  const { client } = context;
  const [serviceCache, addressCache] = [context.cache(services), context.cache(ipAddresses)];
  const cidrCache = context.cache(serviceCidrs);
  const recorder = context.recorder('ipallocator-repair-controller');
  const byPort = createIndex(serviceCache, (service) => nodePortsOf(service).map(String));

  const repairAddresses = async (service: Stored<Service>): Promise<boolean> => {
    const ranges = readyRanges(cidrCache.list());
    let whole = true;
    for (const ip of (service.spec?.clusterIPs ?? []).map(parseIp)) {
      if (ip === undefined) continue;
      const parentOf = (object: IPAddress | undefined): Service | undefined =>
        object === undefined ? undefined : serviceCache.get(parentKey(object));
      const cached = addressCache.get({ name: ip });
      if (addressFault(service, ip, ranges, cached, parentOf(cached)) === undefined) continue;
      // The caches are filled one by one: only what the server says now is a fault.
      const object = await found(client.get(ipAddresses, { name: ip }));
      const live = await found(client.get(services, service.metadata));
      const parent = object === undefined ? undefined : await liveParent(client, object);
      if (live === undefined || !holds(live, ip)) continue;
      const fault = addressFault(live, ip, ranges, object, parent);
      if (fault === undefined) continue;
      whole = false;
      recorder.event(live, 'Warning', fault.reason, fault.message);
      if (fault.repair === 'recreate') await found(client.delete(ipAddresses, { name: ip }));
      if (fault.repair !== undefined)
        await client.create(ipAddresses, addressObject(ip, live)).catch((error: unknown) => {
          if (!isAlreadyExists(error)) throw error;
        });
    }
    return whole;
  };
  const repairService = async (key: ObjectKey, again: (ms: number) => void): Promise<void> => {
    const service = serviceCache.get(key);
    if (service === undefined) return;
    const faults = portFaults(service, nodePorts, (port) => byPort.get(String(port)).length);
    for (const { reason, message } of faults) recorder.event(service, 'Warning', reason, message);
    const whole = await repairAddresses(service);
    if (!whole || faults.length > 0) again(repeatMs);
  };
  const collectOrphan = async (name: string): Promise<void> => {
    const object = await found(client.get(ipAddresses, { name }));
    if (object === undefined || !isAllocators(object)) return;
    const parent = await liveParent(client, object);
    if (parent === undefined ? isOfService(object) : !holds(parent, name)) {
      const { namespace, name: service } = parentKey(object);
      const message = `IPAddress: ${name} for Service ${namespace}/${service} appears to have leaked: cleaning up`;
      recorder.event(object, 'Warning', 'IPAddressNotAllocated', message);
      const { uid } = object.metadata;
      await found(client.delete(ipAddresses, { name }, { preconditions: { uid } }));
    }
  };
  return runController(context, {
    name: 'service-address-repair',
    needs: [serviceCache, addressCache, cidrCache],
    watch(queue) {
      serviceCache.subscribe(({ type, object }) => {
        if (type !== 'deleted') queue.add(keyOf(object));
      });
      addressCache.subscribe(({ type, object }) => {
        // A cluster-scoped key: the name alone, and so no Service's.
        const parent = parentKey(object);
        if (type !== 'deleted' && isAllocators(object) && !holds(serviceCache.get(parent), object.metadata.name))
          queue.add(object.metadata.name);
        if (isOfService(object) && serviceCache.get(parent) !== undefined) queue.add(keyOf(parent));
      });
      cidrCache.subscribe(({ type }) => {
        if (type !== 'added') for (const service of serviceCache.list()) queue.add(keyOf(service));
      });
    },
    reconcile: (key, again) => (key.namespace === undefined ? collectOrphan(key.name) : repairService(key, again)),
  });
}

const isOfService = ({ spec }: IPAddress): boolean =>
  (spec.parentRef.group ?? '') === '' && spec.parentRef.resource === 'services';

const parentKey = ({ spec }: IPAddress): { name: string; namespace: string } => ({
  name: spec.parentRef.name,
  namespace: spec.parentRef.namespace ?? '',
});

async function liveParent(client: Client, object: IPAddress): Promise<Service | undefined> {
  return isOfService(object) ? await found(client.get(services, parentKey(object))) : undefined;
}

/** What is asked for, or undefined where there is no such object. */
async function found<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}
