// The routes by which a node's own processes reach Services. The kernel looks for one before the proxy's rules give the
// packet its real destination, and a node without a way out has none; pods have theirs through the node.
import { type InterfaceAddress, listAddresses, parseAddress, RTM_NEWADDR } from '../linux/addresses.ts';
import { parseLink, RTM_NEWLINK } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import { type MonitorEvent, monitorNetlink, routeGroup } from '../linux/netlink-monitor.ts';
import { deleteRoute, listRoutes, parseRoute, type Route, RTM_DELROUTE, replaceRoute } from '../linux/routes.ts';
import type { Log } from '../log/log.ts';
import { asCidr, type Cidr, cidrContains, familyOf, type Ip } from '../net/address.ts';

export interface ServiceRouteOptions {
  readonly nodeAddresses: readonly Ip[];
  readonly log: Log;
}

/** Events that come together are one look: this long after the first one, in ms. */
const settleMs = 50;

/** So many routes are named in the log, of those set at a time. */
const mostTold = 5;

/** By this number the proxy knows its own routes (`ip route show proto 87`); it is in no rt_protos. */
const ownProtocol = 87;

/** What shall be reached, whether by a route of the proxy or by one that is there. */
export interface ServiceDestinations {
  /** The ranges of Services: always by a route of their own. */
  readonly ranges: readonly Cidr[];
  /** Addresses of load balancers and external ones: only where no other route leads there. */
  readonly addresses: readonly Ip[];
}

export interface RouteChanges {
  readonly set: readonly Route[];
  readonly remove: readonly Route[];
}

/**
 * The routes to set and to remove, so that every destination whose family the node has an address of is reached: over
 * the link of that address, and from it. Pure.
 */
export function routeChanges(
  { ranges, addresses }: ServiceDestinations,
  nodeAddresses: readonly Ip[],
  present: readonly InterfaceAddress[],
  routes: readonly Route[],
): RouteChanges {
  const foreign = routes.filter(({ protocol }) => protocol !== ownProtocol);
  const isReached = (address: Ip): boolean =>
    present.some((own) => own.address === address) ||
    foreign.some(({ to }) => familyOf(to) === familyOf(address) && cidrContains(to, address)) ||
    ranges.some((range) => familyOf(range) === familyOf(address) && cidrContains(range, address));
  const wanted = [...ranges, ...addresses.filter((address) => !isReached(address)).map(hostRange)].flatMap(
    (to): Route[] => {
      const source = nodeAddresses.find((address) => familyOf(address) === familyOf(to));
      const link = present.find(({ address }) => address === source)?.link;
      return source === undefined || link === undefined ? [] : [{ to, link, source, protocol: ownProtocol }];
    },
  );
  const key = ({ to, link }: Route): string => `${to} ${link}`;
  const there = new Set(routes.map(key));
  const keep = new Set(wanted.map(key));
  return {
    set: wanted.filter((route) => !there.has(key(route))),
    remove: routes.filter((route) => route.protocol === ownProtocol && !keep.has(key(route))),
  };
}

const hostRange = (address: Ip): Cidr => asCidr(`${address}/${familyOf(address) === 'IPv4' ? 32 : 128}`);

/**
 * Keeps the routes in this process's network namespace: the kernel drops them without a word with the link or the
 * address.
 */
export class ServiceRoutes {
  readonly #options: ServiceRouteOptions;
  readonly #nl = Netlink.open();
  readonly #end: () => void;
  #destinations: ServiceDestinations = { ranges: [], addresses: [] };
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ServiceRouteOptions) {
    this.#options = options;
    const groups = [
      ...[routeGroup.link, routeGroup.ipv4Address, routeGroup.ipv6Address],
      ...[routeGroup.ipv4Route, routeGroup.ipv6Route],
    ];
    this.#end = monitorNetlink({ groups }, (event) => {
      if (this.#isConcerned(event)) this.#timer ??= setTimeout(() => this.#look(), settleMs);
    });
  }

  /** Sets what shall be reached; done when it returns, where the kernel takes it. */
  set(destinations: ServiceDestinations): void {
    this.#destinations = destinations;
    this.#look();
  }

  stop(): void {
    this.#end();
    clearTimeout(this.#timer);
    this.#nl.close();
  }

  #look(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const { nodeAddresses, log } = this.#options;
    const nl = this.#nl;
    try {
      const { set, remove } = routeChanges(this.#destinations, nodeAddresses, listAddresses(nl), listRoutes(nl));
      for (const route of remove) deleteRoute(nl, route);
      for (const route of set) replaceRoute(nl, route);
      if (set.length > 0)
        log.info({ count: set.length, to: set.slice(0, mostTold).map(({ to }) => to) }, 'routes to Services are set');
    } catch (error) {
      // The link is down: when it comes up there is another event.
      log.warn({ error: String(error) }, 'this node itself cannot reach Services');
    }
  }

  /** A route of ours deleted, an address of the node given back, or a link of this namespace that is up again. */
  #isConcerned(event: MonitorEvent): boolean {
    if (event.type === 'overrun') return true;
    const { nodeAddresses } = this.#options;
    return event.messages.some((message) => {
      if (message.type === RTM_DELROUTE) return parseRoute(message)?.protocol === ownProtocol;
      if (message.type === RTM_NEWADDR) return nodeAddresses.some((own) => own === parseAddress(message)?.address);
      if (message.type !== RTM_NEWLINK || message.body.readUInt8(0) !== 0) return false;
      // Ports of bridges carry no route.
      const link = parseLink(message);
      return link.up && link.master === undefined;
    });
  }
}
