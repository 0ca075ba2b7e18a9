// The route by which a node's own processes reach Services. The kernel looks for one before the proxy's rules give the
// packet its real destination, and a node without a way out has none; pods have theirs through the node.
import { type InterfaceAddress, listAddresses, parseAddress, RTM_NEWADDR } from '../linux/addresses.ts';
import { parseLink, RTM_NEWLINK } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import { type MonitorEvent, monitorNetlink, routeGroup } from '../linux/netlink-monitor.ts';
import {
  deleteRoute,
  listRoutes,
  parseRoute,
  protocol,
  type Route,
  RTM_DELROUTE,
  replaceRoute,
} from '../linux/routes.ts';
import type { Log } from '../log/log.ts';
import { type Cidr, familyOf, type Ip } from '../net/address.ts';

export interface ServiceRouteOptions {
  readonly nodeAddresses: readonly Ip[];
  readonly log: Log;
}

/** Events that come together are one look: this long after the first one, in ms. */
const settleMs = 50;

/** For each range of Services whose family the node has an address of: over the link of that address, and from it. Pure. */
export function serviceRoutes(
  serviceCidrs: readonly Cidr[],
  nodeAddresses: readonly Ip[],
  present: readonly InterfaceAddress[],
): Route[] {
  return serviceCidrs.flatMap((to): Route[] => {
    const source = nodeAddresses.find((address) => familyOf(address) === familyOf(to));
    const link = present.find(({ address }) => address === source)?.link;
    return source === undefined || link === undefined ? [] : [{ to, link, source, protocol: protocol.static }];
  });
}

export interface ServiceRoutes {
  /** The ranges that there shall be routes to; those to former ones are taken away. */
  set(serviceCidrs: readonly Cidr[]): void;
  stop(): void;
}

/**
 * Sets the routes in this process's network namespace and sets them again when they are gone: the kernel drops them
 * without a word with the link or the address. When it ends they stay.
 */
export function keepServiceRoutes(options: ServiceRouteOptions): ServiceRoutes {
  const nl = Netlink.open();
  let ranges: readonly Cidr[] = [];
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    timer = undefined;
    try {
      for (const route of missing(nl, ranges, options)) {
        replaceRoute(nl, route);
        options.log.info({ to: route.to, source: route.source }, 'the route to Services is set');
      }
    } catch (error) {
      // The link is down: when it comes up there is another event.
      options.log.warn({ error: String(error) }, 'this node itself cannot reach Services');
    }
  };
  const groups = [
    ...[routeGroup.link, routeGroup.ipv4Address, routeGroup.ipv6Address],
    ...[routeGroup.ipv4Route, routeGroup.ipv6Route],
  ];
  const end = monitorNetlink({ groups }, (event) => {
    if (concernsServices(event, ranges, options)) timer ??= setTimeout(look, settleMs);
  });
  return {
    set(serviceCidrs) {
      const gone = ranges.filter((range) => !serviceCidrs.includes(range));
      ranges = serviceCidrs;
      for (const route of serviceRoutes(gone, options.nodeAddresses, listAddresses(nl))) deleteRoute(nl, route);
      look();
    },
    stop() {
      end();
      clearTimeout(timer);
      nl.close();
    },
  };
}

function missing(nl: Netlink, serviceCidrs: readonly Cidr[], { nodeAddresses }: ServiceRouteOptions): Route[] {
  const present = listRoutes(nl);
  return serviceRoutes(serviceCidrs, nodeAddresses, listAddresses(nl)).filter(
    (route) => !present.some(({ to, link }) => to === route.to && link === route.link),
  );
}

/** A route to Services deleted, an address of the node given back, or a link of this namespace that is up again. */
function concernsServices(
  event: MonitorEvent,
  serviceCidrs: readonly Cidr[],
  { nodeAddresses }: ServiceRouteOptions,
): boolean {
  if (event.type === 'overrun') return true;
  return event.messages.some((message) => {
    if (message.type === RTM_DELROUTE) return serviceCidrs.some((range) => range === parseRoute(message)?.to);
    if (message.type === RTM_NEWADDR) return nodeAddresses.some((own) => own === parseAddress(message)?.address);
    if (message.type !== RTM_NEWLINK || message.body.readUInt8(0) !== 0) return false;
    // Ports of bridges carry no route.
    const link = parseLink(message);
    return link.up && link.master === undefined;
  });
}
