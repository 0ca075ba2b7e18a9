// The node CIDR allocator: each node gets one subnet of each cluster range as its podCIDRs.
import { keyOf } from '../k8s/object.ts';
import { nodes } from '../k8s/resources.ts';
import type { Node } from '../k8s/types.generated.ts';
import { type Cidr, cidrsOverlap, type Family, familyOf, parseCidr, rangeOf, subnetAt } from '../net/address.ts';
import type { ControllerContext } from './context.ts';
import { type Controller, runController } from './controller.ts';

export type NodeMaskSize = Readonly<Record<Family, number>>;
export const defaultNodeMaskSize: NodeMaskSize = { IPv4: 24, IPv6: 64 };

/** The first subnet of the range that overlaps none of those in use; undefined where the range is used up. */
export function freeSubnet(range: Cidr, prefix: number, used: readonly Cidr[]): Cidr | undefined {
  const { prefix: own } = rangeOf(range);
  if (prefix < own) return undefined;
  const same = used.filter((other) => cidrsOverlap(range, other));
  const taken = new Set(same);
  // Between so many subnets there is a free one, unless wider ranges are in use.
  const count = prefix - own >= 30 ? 2 ** 30 : 2 ** (prefix - own);
  for (let index = 0; index < count; index++) {
    const subnet = subnetAt(range, prefix, index);
    if (!taken.has(subnet) && !same.some((other) => cidrsOverlap(subnet, other))) return subnet;
  }
  return undefined;
}

/** The podCIDRs for a node: one for each cluster range. Undefined where one of the ranges is used up. */
export function allocate(ranges: readonly Cidr[], sizes: NodeMaskSize, used: readonly Cidr[]): Cidr[] | undefined {
  const subnets = ranges.map((range) => freeSubnet(range, sizes[familyOf(range)], used));
  return subnets.every((subnet) => subnet !== undefined) ? subnets : undefined;
}

/** What the nodes that are expected will get: in their order, at every start the same, whoever registers first. */
export function reserve(names: readonly string[], ranges: readonly Cidr[], sizes: NodeMaskSize): Map<string, Cidr[]> {
  const reserved = new Map<string, Cidr[]>();
  for (const name of names) {
    const subnets = allocate(ranges, sizes, [...reserved.values()].flat());
    if (subnets !== undefined) reserved.set(name, subnets);
  }
  return reserved;
}

/** The podCIDRs for a node of that name: its reserved ones, else any that nobody has, best those that nobody awaits. */
export function choose(
  name: string,
  reserved: ReadonlyMap<string, readonly Cidr[]>,
  ranges: readonly Cidr[],
  sizes: NodeMaskSize,
  used: readonly Cidr[],
): readonly Cidr[] | undefined {
  const own = reserved.get(name);
  if (own?.every((subnet) => !used.some((other) => cidrsOverlap(subnet, other)))) return own;
  return allocate(ranges, sizes, [...used, ...[...reserved.values()].flat()]) ?? allocate(ranges, sizes, used);
}

function podCidrsOf(node: Node): Cidr[] {
  const { podCIDRs, podCIDR } = node.spec ?? {};
  const texts = podCIDRs ?? (podCIDR === undefined ? [] : [podCIDR]);
  return texts.map(parseCidr).filter((range) => range !== undefined);
}

export function runNodeIpam(
  context: ControllerContext,
  ranges: readonly Cidr[],
  sizes: NodeMaskSize,
  expected: readonly string[] = [],
): Controller {
  const reserved = reserve(expected, ranges, sizes);
  const cache = context.cache(nodes);
  const recorder = context.recorder('cidrAllocator');
  // What was given out and is not in the cache yet.
  const given = new Map<string, readonly Cidr[]>();
  return runController(context, {
    name: 'node-ipam',
    needs: [cache],
    concurrency: 1,
    watch(queue) {
      cache.subscribe(({ type, object }) => {
        if (type !== 'deleted') return queue.add(keyOf(object));
        given.delete(object.metadata.name);
        // A subnet came free: whoever waits for one can have it.
        for (const node of cache.list()) if (podCidrsOf(node).length === 0) queue.add(keyOf(node));
        return undefined;
      });
    },
    async reconcile(key) {
      const node = cache.get(key);
      if (node === undefined || ranges.length === 0) return;
      if (podCidrsOf(node).length > 0) {
        given.delete(key.name);
        return;
      }
      const used = [...cache.list().flatMap(podCidrsOf), ...[...given.values()].flat()];
      const podCIDRs = given.get(key.name) ?? choose(key.name, reserved, ranges, sizes, used);
      if (podCIDRs === undefined) {
        const wanted = ranges.map((range) => `/${sizes[familyOf(range)]} of ${range}`).join(' and ');
        recorder.event(
          node,
          'Normal',
          'CIDRNotAvailable',
          `Node ${key.name} status is now: CIDRNotAvailable: no free ${wanted}`,
        );
        return;
      }
      given.set(key.name, podCIDRs);
      await context.client.patch(nodes, key, { type: 'merge', body: { spec: { podCIDR: podCIDRs[0], podCIDRs } } });
    },
  });
}
