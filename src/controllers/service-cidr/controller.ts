// Marks ServiceCIDRs as ready, and lets a deleted one go when no address of a Service needs it any more (KEP-1880).
import { formatTime, withCondition } from '../../k8s/conditions.ts';
import { keyOf } from '../../k8s/object.ts';
import { ipAddresses, serviceCidrs } from '../../k8s/resources.ts';
import type { Condition } from '../../k8s/types.generated.ts';
import type { ControllerContext } from '../context.ts';
import { type Controller, runController } from '../controller.ts';
import { canGo, finalizer } from './decide.ts';

export function runServiceCidrs(context: ControllerContext): Controller {
  const { client } = context;
  const [cache, addressCache] = [context.cache(serviceCidrs), context.cache(ipAddresses)];
  const state = (ready: boolean): Condition => ({
    type: 'Ready',
    status: ready ? 'True' : 'False',
    reason: ready ? '' : 'Terminating',
    message: ready
      ? 'Kubernetes Service CIDR is ready'
      : 'There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR',
    lastTransitionTime: formatTime(context.now()),
  });
  return runController(context, {
    name: 'service-cidr',
    needs: [cache, addressCache],
    watch(queue) {
      const addDeleted = (): void => {
        for (const cidr of cache.list()) if (cidr.metadata.deletionTimestamp !== undefined) queue.add(keyOf(cidr));
      };
      // What comes or goes elsewhere may hold or free one that waits to go.
      cache.subscribe(({ object }) => {
        queue.add(keyOf(object));
        addDeleted();
      });
      addressCache.subscribe(({ type }) => {
        if (type === 'deleted') addDeleted();
      });
    },
    async reconcile(key) {
      const cidr = cache.get(key);
      if (cidr === undefined) return;
      const { finalizers = [], deletionTimestamp, resourceVersion } = cidr.metadata;
      const isHeld = finalizers.includes(finalizer);
      const setFinalizers = async (wanted: readonly string[]): Promise<void> => {
        const body = { metadata: { resourceVersion, finalizers: wanted } };
        await client.patch(serviceCidrs, key, { type: 'merge', body });
      };
      if (deletionTimestamp !== undefined) {
        const others = cache.list().filter((other) => other !== cidr && !other.metadata.deletionTimestamp);
        // The server's own store is asked: an address given a moment ago may not be in the cache.
        if (isHeld && canGo(cidr, others, (await client.list(ipAddresses)).items))
          return setFinalizers(finalizers.filter((one) => one !== finalizer));
        if (!isHeld) return;
      } else if (!isHeld) return setFinalizers([...finalizers, finalizer]);
      const ready = deletionTimestamp === undefined;
      const before = cidr.status?.conditions;
      // The API server has set the one of the default ServiceCIDR, in words of its own.
      if (ready && before?.some(({ type, status }) => type === 'Ready' && status === 'True')) return;
      const conditions = withCondition(before, state(ready));
      if (conditions !== before)
        await client.patch(serviceCidrs, key, { type: 'merge', body: { status: { conditions } } }, 'status');
    },
  });
}
