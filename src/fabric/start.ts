// The fabric of a node: watches Nodes, decides the routes, writes them, and puts them right when someone else changes them.
import type { Cache, Client } from '../k8s/client.ts';
import { nodes } from '../k8s/resources.ts';
import type { Node } from '../k8s/types.generated.ts';
import { parseLink, RTM_DELLINK, RTM_NEWLINK } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import { type MonitorEvent, monitorNetlink, routeGroup } from '../linux/netlink-monitor.ts';
import { writeSysctl } from '../linux/netns.ts';
import { parseRoute, RTM_DELROUTE } from '../linux/routes.ts';
import type { Log } from '../log/log.ts';
import { type Cidr, familyOf } from '../net/address.ts';
import { decideRoutes, type FabricDecision } from './host-gateway.ts';
import { applyRoutes, fabricProtocol, type RouteChange } from './route-table.ts';

export interface FabricOptions {
  readonly client: Client;
  readonly nodeName: string;
  readonly clusterCidrs: readonly Cidr[];
  readonly log: Log;
}

/** Events that come together are one pass: this long after the first one, in ms. */
const settleMs = 20;
/** After a refusal by the kernel (a next hop that cannot be reached yet), in ms. */
const retryMs = 2_000;
/** The slow comparison of the kernel with the decision, in ms. */
const auditMs = 300_000;

/**
 * Starts the host-gw fabric in the calling process's network namespace, which is the node's. Routes stay when it is
 * stopped: pods go on talking while the agent restarts.
 */
export async function startFabric(options: FabricOptions): Promise<{ stop(): Promise<void> }> {
  const fabric = new Fabric(options);
  fabric.start();
  return { stop: async () => fabric.stop() };
}

class Fabric {
  readonly #options: FabricOptions;
  readonly #nl = Netlink.open();
  readonly #cache: Cache<Node>;
  readonly #ends: (() => void)[] = [];
  #pass: NodeJS.Timeout | undefined;
  #passAt = Number.POSITIVE_INFINITY;
  #decision: FabricDecision = { routes: [], problems: [] };
  #reported = '';
  #stopped = false;

  constructor(options: FabricOptions) {
    this.#options = options;
    this.#cache = options.client.cache(nodes);
    this.#ends.push(() => this.#cache.stop());
  }

  start(): void {
    const cache = this.#cache;
    enableForwarding(this.#options.clusterCidrs);
    this.#ends.push(
      cache.subscribe(() => {
        if (cache.isSynced) this.#schedule(settleMs);
      }),
    );
    // Routes of nodes that went away while the agent was down are pruned only when all Nodes are known.
    cache.synced.then(
      () => this.#schedule(0),
      () => {},
    );
    const groups = [routeGroup.link, routeGroup.ipv4Route, routeGroup.ipv6Route];
    this.#ends.push(
      monitorNetlink({ groups }, (event) => {
        if (cache.isSynced && concernsRoutes(event)) this.#schedule(settleMs);
      }),
    );
    const audit = setInterval(() => cache.isSynced && this.#schedule(0), auditMs).unref();
    this.#ends.push(() => clearInterval(audit));
  }

  stop(): void {
    this.#stopped = true;
    for (const end of this.#ends.splice(0).reverse()) end();
    clearTimeout(this.#pass);
    this.#nl.close();
  }

  #schedule(delayMs: number): void {
    const at = performance.now() + delayMs;
    if (this.#stopped || at >= this.#passAt) return;
    clearTimeout(this.#pass);
    this.#passAt = at;
    this.#pass = setTimeout(() => {
      this.#passAt = Number.POSITIVE_INFINITY;
      try {
        this.#decision = decideRoutes(this.#cache.list(), this.#options);
        this.#report(applyRoutes(this.#nl, this.#decision.routes));
      } catch (error) {
        this.#options.log.error({ err: error }, 'writing the routes to other nodes failed');
        this.#schedule(retryMs);
      }
    }, delayMs);
  }

  #report(change: RouteChange): void {
    const { log } = this.#options;
    for (const { to, via, owner } of change.replaced) log.info({ to, via, owner }, 'route set');
    for (const { to, via } of change.deleted) log.info({ to, via }, 'route deleted');
    const failures = change.failed.map(({ route, error }) => `${route.owner}: ${message(error)}`);
    const problems = this.#decision.problems.map(({ owner, reason }) => `${owner}: ${reason}`);
    const all = [...problems, ...failures].join('\n');
    if (all !== '' && all !== this.#reported) log.warn({ problems, failures }, 'not every node can be reached');
    this.#reported = all;
    if (failures.length > 0) this.#schedule(retryMs);
  }
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** A node forwards its pods' packets. */
function enableForwarding(clusterCidrs: readonly Cidr[]): void {
  writeSysctl('net/ipv4/ip_forward', '1');
  if (clusterCidrs.some((range) => familyOf(range) === 'IPv6')) writeSysctl('net/ipv6/conf/all/forwarding', '1');
}

/** A route of the fabric that was deleted, or a link that came, went or changed (the kernel drops its routes silently). */
function concernsRoutes(event: MonitorEvent): boolean {
  if (event.type === 'overrun') return true;
  return event.messages.some((entry) => {
    if (entry.type === RTM_DELROUTE) return parseRoute(entry)?.protocol === fabricProtocol;
    // Bridge ports announce themselves in the bridge's family too; pods' links, as ports, carry no route.
    if (entry.type !== RTM_NEWLINK && entry.type !== RTM_DELLINK) return false;
    return entry.body.readUInt8(0) === 0 && parseLink(entry).master === undefined;
  });
}
