// NodePorts on the host: 127.0.0.1:N leads to port N of the first node, or another free port does where N is taken.
// In a cluster with IPv6 so does the same port of ::1, where the host has it.
import { createServer, type Server } from 'node:net';
import type { Cache } from '../k8s/client.ts';
import { keyOf } from '../k8s/object.ts';
import type { Service } from '../k8s/types.generated.ts';
import type { Log } from '../log/log.ts';
import { type Family, familyOf, type Ip, parseIp } from '../net/address.ts';
import { dial, joinStreams, listening, listenOnIpv6Too, portOf } from './byte-relay.ts';
import { dialLine } from './dial.ts';
import type { NodeLayout } from './layout.ts';
import type { NodePortForward } from './supervisor-socket.ts';

/** A NodePort that some Service has. */
export interface WantedPort {
  readonly service: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly nodePort: number;
  /** The families that the Service has. */
  readonly families: readonly Family[];
}

/** The NodePorts of all Services, by protocol and number. Pure. */
export function wantedPorts(services: readonly Service[]): Map<string, WantedPort> {
  const wanted = new Map<string, WantedPort>();
  for (const service of services) {
    const addresses = service.spec.clusterIPs ?? [service.spec.clusterIP ?? ''];
    const families = [...new Set(addresses.flatMap((text) => parseIp(text) ?? []).map(familyOf))];
    if (service.spec.type !== 'NodePort' && service.spec.type !== 'LoadBalancer') continue;
    for (const { nodePort, protocol = 'TCP' } of service.spec.ports ?? [])
      if (nodePort !== undefined && (protocol === 'TCP' || protocol === 'UDP'))
        wanted.set(`${protocol}/${nodePort}`, { service: keyOf(service), protocol, nodePort, families });
  }
  return wanted;
}

/** The node's address that serves the Service to a client of that family: of the same one, or of the one it has. */
export function nodeAddressFor(client: Family, service: readonly Family[], node: Pick<NodeLayout, 'addresses'>): Ip {
  const served = node.addresses.filter((address) => service.includes(familyOf(address)));
  return served.find((address) => familyOf(address) === client) ?? served[0] ?? node.addresses[0];
}

/** Follows the Services and keeps a forwarder for each TCP NodePort. Connections go through the node's dial socket. */
export function forwardNodePorts(
  services: Cache<Service>,
  node: NodeLayout,
  log: Log,
): { list(): NodePortForward[]; stop(): void } {
  const open = new Map<string, { wanted: WantedPort; servers: readonly Server[]; hostPort?: number }>();
  const ipv6 = node.addresses.some((address) => familyOf(address) === 'IPv6');

  const forwarder = (key: string, client: Family): Server =>
    createServer({ allowHalfOpen: true, noDelay: true }, (incoming) => {
      const wanted = open.get(key)?.wanted;
      if (wanted === undefined) return void incoming.destroy();
      const outgoing = dial({ path: node.dialSocket });
      outgoing.write(dialLine(nodeAddressFor(client, wanted.families, node), wanted.nodePort));
      joinStreams(incoming, outgoing);
    });

  const begin = (key: string, wanted: WantedPort): void => {
    if (wanted.protocol !== 'TCP') {
      open.set(key, { wanted, servers: [] });
      return;
    }
    const server = forwarder(key, 'IPv4');
    const second = ipv6 ? forwarder(key, 'IPv6') : undefined;
    const servers = second === undefined ? [server] : [server, second];
    open.set(key, { wanted, servers });
    listenNear(server, wanted.nodePort).then(
      (hostPort) => {
        const entry = open.get(key);
        if (entry?.servers !== servers) return void server.close();
        open.set(key, { ...entry, hostPort });
        if (second !== undefined) listenOnIpv6Too(second, hostPort, log);
        if (hostPort !== wanted.nodePort) log.warn({ ...wanted, hostPort }, 'the port is taken on the host');
      },
      (error: unknown) => log.error({ ...wanted, error: String(error) }, 'cannot forward a NodePort'),
    );
  };

  const update = (): void => {
    const wanted = wantedPorts(services.list());
    for (const [key, { servers }] of open) {
      if (wanted.has(key)) continue;
      for (const server of servers) server.close();
      open.delete(key);
    }
    for (const [key, port] of wanted) {
      const entry = open.get(key);
      if (entry === undefined) begin(key, port);
      else open.set(key, { ...entry, wanted: port });
    }
  };

  const end = services.subscribe(update);
  return {
    list: () =>
      [...open.values()].map(({ wanted: { families: _, ...port }, hostPort }) => ({
        ...port,
        ...(hostPort !== undefined && { hostPort }),
      })),
    stop() {
      end();
      for (const { servers } of open.values()) for (const server of servers) server.close();
      open.clear();
    },
  };
}

/** Listens on that port of the loopback, or on any free one. */
async function listenNear(server: Server, port: number): Promise<number> {
  try {
    await listening(server, { host: '127.0.0.1', port });
  } catch {
    await listening(server, { host: '127.0.0.1', port: 0 });
  }
  return portOf(server);
}
