// The fabric's routes in the kernel: written as decided, the smallest change at a time.
import type { Netlink } from '../linux/netlink.ts';
import { deleteRoute, listRoutes, type Route, replaceRoute } from '../linux/routes.ts';
import type { FabricRoute } from './host-gateway.ts';

/** Who made the route, as `ip route` shows it: no protocol of /etc/iproute2/rt_protos has this number. */
export const fabricProtocol = 118;

export interface RouteChange {
  readonly replaced: readonly FabricRoute[];
  readonly deleted: readonly Route[];
  /** Routes that the kernel refused, and why. */
  readonly failed: readonly { readonly route: FabricRoute; readonly error: unknown }[];
}

/** What has to be written so that the present routes become the wanted ones. Pure. */
export function diffRoutes(
  wanted: readonly FabricRoute[],
  present: readonly Route[],
): { readonly replace: readonly FabricRoute[]; readonly remove: readonly Route[] } {
  const byDestination = new Map(present.map((route) => [route.to, route]));
  const destinations = new Set(wanted.map(({ to }) => to));
  return {
    replace: wanted.filter(({ to, via }) => byDestination.get(to)?.via !== via),
    remove: present.filter(({ to }) => !destinations.has(to)),
  };
}

/** Reads the fabric's own routes from the kernel and brings them to what is wanted. Others' routes are not touched. */
export function applyRoutes(nl: Netlink, wanted: readonly FabricRoute[]): RouteChange {
  const { replace, remove } = diffRoutes(wanted, listRoutes(nl, { protocol: fabricProtocol }));
  const failed: { route: FabricRoute; error: unknown }[] = [];
  for (const route of remove) deleteRoute(nl, route);
  const replaced = replace.filter((route) => {
    try {
      replaceRoute(nl, { to: route.to, via: route.via, protocol: fabricProtocol });
      return true;
    } catch (error) {
      failed.push({ route, error });
      return false;
    }
  });
  return { replaced, deleted: remove, failed };
}
