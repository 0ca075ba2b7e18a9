// A node's routes to the other subnets of the underlay, by way of the router between them.
import { parseLink, RTM_NEWLINK } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import { type MonitorEvent, monitorNetlink, routeGroup } from '../linux/netlink-monitor.ts';
import { listRoutes, parseRoute, protocol, type Route, RTM_DELROUTE, replaceRoute } from '../linux/routes.ts';
import type { Log } from '../log/log.ts';
import { byFamily, segmentsOf, type UnderlaySettings } from './segments.ts';

/** Of a node on that segment; none where there is no other subnet. Pure. */
export function segmentRoutes(settings: UnderlaySettings, segment: number): Route[] {
  if (settings.underlaySubnets === 1) return [];
  const routers = segmentsOf(settings)[segment]?.routers ?? [];
  return byFamily(settings.underlay, routers).map(([to, via]) => ({ to, via, protocol: protocol.static }));
}

/** Events that come together are one look: this long after the first one, in ms. */
const settleMs = 50;
/** After a refusal: the link is up, but its addresses are not there yet; in ms. */
const retryMs = 1_000;

/**
 * Sets the routes again in this process's network namespace when they are gone: the kernel drops them without a word
 * when the link goes down. Returns the end of it.
 */
export function keepSegmentRoutes(routes: readonly Route[], log: Log): () => void {
  if (routes.length === 0) return () => {};
  const nl = Netlink.open();
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    timer = undefined;
    try {
      const present = listRoutes(nl);
      for (const route of routes) {
        if (present.some(({ to, via }) => to === route.to && via === route.via)) continue;
        replaceRoute(nl, route);
        log.info({ to: route.to, via: route.via }, 'the route to the other subnets is set');
      }
    } catch (error) {
      log.warn({ error: String(error) }, 'the other subnets cannot be reached');
      timer = setTimeout(look, retryMs);
    }
  };
  const groups = [routeGroup.link, routeGroup.ipv4Route, routeGroup.ipv6Route];
  const end = monitorNetlink({ groups }, (event) => {
    if (mayDrop(event, routes)) timer ??= setTimeout(look, settleMs);
  });
  look();
  return () => {
    end();
    clearTimeout(timer);
    nl.close();
  };
}

/** One of the routes deleted, or a link of this namespace that is up again. */
function mayDrop(event: MonitorEvent, routes: readonly Route[]): boolean {
  if (event.type === 'overrun') return true;
  return event.messages.some((message) => {
    if (message.type === RTM_DELROUTE) return routes.some(({ to }) => to === parseRoute(message)?.to);
    if (message.type !== RTM_NEWLINK || message.body.readUInt8(0) !== 0) return false;
    // Ports of bridges carry no route.
    const link = parseLink(message);
    return link.up && link.master === undefined;
  });
}
