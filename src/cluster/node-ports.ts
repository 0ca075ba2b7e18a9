// NodePorts on the host: 127.0.0.1:N leads to port N of the first node, or another free port does where N is taken.
// In a cluster with IPv6 so does the same port of ::1, where the host has it. Ports of load balancers that have no
// NodePort are forwarded in the same way, to the balancer's address.
import { createServer } from 'node:net';
import type { Cache } from '../k8s/client.ts';
import { keyOf } from '../k8s/object.ts';
import type { Service } from '../k8s/types.generated.ts';
import type { Log } from '../log/log.ts';
import { type Family, familyOf, type Ip, parseIp } from '../net/address.ts';
import { joinStreams } from '../net/join-streams.ts';
import { dial, listening, portOf } from './byte-relay.ts';
import { relayDatagrams } from './datagram-relay.ts';
import { dialLine } from './dial.ts';
import type { NodeLayout } from './layout.ts';
import type { NodePortForward } from './supervisor-socket.ts';

/** A NodePort that some Service has; or the port of a load balancer without one. */
export interface WantedPort {
  readonly service: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly nodePort: number;
  /** The load balancer's addresses, where there is no NodePort: there the port is. */
  readonly addresses?: readonly Ip[];
  /** The families that the Service has. */
  readonly families: readonly Family[];
}

/** The NodePorts of all Services, by protocol and number, and the ports of load balancers without one. Pure. */
export function wantedPorts(services: readonly Service[]): Map<string, WantedPort> {
  const wanted = new Map<string, WantedPort>();
  for (const service of services) {
    const addresses = service.spec.clusterIPs ?? [service.spec.clusterIP ?? ''];
    const families = [...new Set(addresses.flatMap((text) => parseIp(text) ?? []).map(familyOf))];
    if (service.spec.type !== 'NodePort' && service.spec.type !== 'LoadBalancer') continue;
    const balanced = (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => parseIp(ip ?? '') ?? []);
    for (const { nodePort, port, protocol = 'TCP' } of service.spec.ports ?? []) {
      if (protocol !== 'TCP' && protocol !== 'UDP') continue;
      const common = { service: keyOf(service), protocol, families } as const;
      if (nodePort !== undefined) wanted.set(`${protocol}/${nodePort}`, { ...common, nodePort });
      else if (service.spec.type === 'LoadBalancer' && balanced[0] !== undefined)
        wanted.set(`${protocol}/${balanced[0]}/${port}`, { ...common, nodePort: port, addresses: balanced });
    }
  }
  return wanted;
}

/** The node's address that serves the Service to a client of that family: of the same one, or of the one it has. */
export function nodeAddressFor(client: Family, service: readonly Family[], node: Pick<NodeLayout, 'addresses'>): Ip {
  const served = node.addresses.filter((address) => service.includes(familyOf(address)));
  return served.find((address) => familyOf(address) === client) ?? served[0] ?? node.addresses[0];
}

/** Follows the Services and keeps a forwarder for each NodePort. What comes goes through the node's dial socket. */
export function forwardNodePorts(
  services: Cache<Service>,
  node: NodeLayout,
  log: Log,
): { list(): NodePortForward[]; stop(): void } {
  const open = new Map<string, { wanted: WantedPort; forwards: Forwards; hostPort?: number }>();
  const withIpv6 = node.addresses.some((address) => familyOf(address) === 'IPv6');

  const begin = (key: string, wanted: WantedPort): void => {
    const line = (client: Family): string => {
      const { families, nodePort, protocol, addresses } = open.get(key)?.wanted ?? wanted;
      const own = addresses?.find((address) => familyOf(address) === client) ?? addresses?.[0];
      return dialLine(own ?? nodeAddressFor(client, families, node), nodePort, protocol === 'UDP' ? 'udp' : 'tcp');
    };
    const forwards = new Forwards(wanted, { path: node.dialSocket, line, withIpv6, log });
    open.set(key, { wanted, forwards });
    forwards.listen().then(
      (hostPort) => {
        const entry = open.get(key);
        if (entry?.forwards !== forwards) return;
        open.set(key, { ...entry, hostPort });
        if (hostPort !== wanted.nodePort) log.warn({ ...wanted, hostPort }, 'the port is taken on the host');
      },
      (error: unknown) => log.error({ ...wanted, error: String(error) }, 'cannot forward a NodePort'),
    );
  };

  const update = (): void => {
    const wanted = wantedPorts(services.list());
    for (const [key, { forwards }] of open) {
      if (wanted.has(key)) continue;
      forwards.close();
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
      [...open.values()].map(({ wanted: { families: _, addresses, ...port }, hostPort }) => ({
        ...port,
        ...(addresses?.[0] !== undefined && { address: addresses[0] }),
        ...(hostPort !== undefined && { hostPort }),
      })),
    stop() {
      end();
      for (const { forwards } of open.values()) forwards.close();
      open.clear();
    },
  };
}

interface ForwardOptions {
  readonly path: string;
  /** What to say on the dial socket for a client of that family. */
  readonly line: (client: Family) => string;
  readonly withIpv6: boolean;
  readonly log: Log;
}

/** What listens on the host for one NodePort. */
class Forwards {
  readonly #wanted: WantedPort;
  readonly #options: ForwardOptions;
  readonly #open: { close(): void }[] = [];
  #isClosed = false;

  constructor(wanted: WantedPort, options: ForwardOptions) {
    this.#wanted = wanted;
    this.#options = options;
  }

  /** Listens on the port's number where it is free, or on any other; resolves with the one that it is. */
  async listen(): Promise<number> {
    const { nodePort } = this.#wanted;
    const port = await this.#listenOn('IPv4', nodePort).catch(() => this.#listenOn('IPv4', 0));
    const { withIpv6, log } = this.#options;
    // 127.0.0.1 serves all the same where the host has no IPv6 or another process has the port of ::1.
    if (withIpv6 && !this.#isClosed)
      this.#listenOn('IPv6', port).catch((error: unknown) =>
        log.warn({ port, error: String(error) }, 'the port is not forwarded from ::1'),
      );
    return port;
  }

  close(): void {
    this.#isClosed = true;
    for (const one of this.#open.splice(0)) one.close();
  }

  async #listenOn(family: Family, port: number): Promise<number> {
    const { path, line } = this.#options;
    const greeting = (): string => line(family);
    if (this.#wanted.protocol === 'UDP') {
      const relay = await relayDatagrams({ family, port, path, greeting });
      return this.#keep(relay, relay.port);
    }
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (incoming) => {
      const outgoing = dial({ path });
      outgoing.write(greeting());
      joinStreams(incoming, outgoing);
    });
    await listening(server, { host: family === 'IPv4' ? '127.0.0.1' : '::1', port });
    return this.#keep(server, portOf(server));
  }

  /** One that began to listen after the end is closed at once. */
  #keep(one: { close(): void }, port: number): number {
    if (this.#isClosed) one.close();
    else this.#open.push(one);
    return port;
  }
}
