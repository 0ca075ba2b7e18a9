// NodePorts on the host: 127.0.0.1:N leads to port N of the first node, or another free port does where N is taken.
import { createServer, type Server } from 'node:net';
import type { Cache } from '../k8s/client.ts';
import { keyOf } from '../k8s/object.ts';
import type { Service } from '../k8s/types.generated.ts';
import type { Log } from '../log/log.ts';
import { dial, joinStreams, listening, portOf } from './byte-relay.ts';
import { dialLine } from './dial.ts';
import type { NodeLayout } from './layout.ts';
import type { NodePortForward } from './supervisor-socket.ts';

/** A NodePort that some Service has. */
export interface WantedPort {
  readonly service: string;
  readonly protocol: 'TCP' | 'UDP';
  readonly nodePort: number;
}

/** The NodePorts of all Services, by protocol and number. Pure. */
export function wantedPorts(services: readonly Service[]): Map<string, WantedPort> {
  const wanted = new Map<string, WantedPort>();
  for (const service of services) {
    if (service.spec.type !== 'NodePort' && service.spec.type !== 'LoadBalancer') continue;
    for (const { nodePort, protocol = 'TCP' } of service.spec.ports ?? [])
      if (nodePort !== undefined && (protocol === 'TCP' || protocol === 'UDP'))
        wanted.set(`${protocol}/${nodePort}`, { service: keyOf(service), protocol, nodePort });
  }
  return wanted;
}

/** Follows the Services and keeps a forwarder for each TCP NodePort. Connections go through the node's dial socket. */
export function forwardNodePorts(
  services: Cache<Service>,
  node: NodeLayout,
  log: Log,
): { list(): NodePortForward[]; stop(): void } {
  const open = new Map<string, { wanted: WantedPort; server?: Server; hostPort?: number }>();

  const begin = (key: string, wanted: WantedPort): void => {
    if (wanted.protocol !== 'TCP') {
      open.set(key, { wanted });
      return;
    }
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (incoming) => {
      const outgoing = dial({ path: node.dialSocket });
      outgoing.write(dialLine(node.address, wanted.nodePort));
      joinStreams(incoming, outgoing);
    });
    open.set(key, { wanted, server });
    listenNear(server, wanted.nodePort).then(
      (hostPort) => {
        const entry = open.get(key);
        if (entry?.server !== server) return void server.close();
        open.set(key, { ...entry, hostPort });
        if (hostPort !== wanted.nodePort) log.warn({ ...wanted, hostPort }, 'the port is taken on the host');
      },
      (error: unknown) => log.error({ ...wanted, error: String(error) }, 'cannot forward a NodePort'),
    );
  };

  const update = (): void => {
    const wanted = wantedPorts(services.list());
    for (const [key, { server }] of open) {
      if (wanted.has(key)) continue;
      server?.close();
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
      [...open.values()].map(({ wanted, hostPort }) => ({ ...wanted, ...(hostPort !== undefined && { hostPort }) })),
    stop() {
      end();
      for (const { server } of open.values()) server?.close();
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
