// Reads what the fabric has in the kernel of one namespace: at the start, after surprises, and slowly in the background.
import { listAddresses } from '../linux/addresses.ts';
import { listForwarding } from '../linux/forwarding.ts';
import type { Link } from '../linux/links.ts';
import { listNeighbours } from '../linux/neighbours.ts';
import type { Netlink } from '../linux/netlink.ts';
import { listRoutes } from '../linux/routes.ts';
import { listRules } from '../linux/rules.ts';
import type { Wireguard } from '../linux/wireguard.ts';
import { isOwnDevice } from './devices.ts';
import { encryptedTable } from './encryption.ts';
import { fabricProtocol } from './protocol.ts';
import { emptyState, type KernelState, keyOf } from './state.ts';

export interface KernelReading {
  readonly state: KernelState;
  /** The fabric's devices: their indices by their names. */
  readonly devices: Map<string, number>;
}

/** All but sysctls, which nobody changes. `links` are all interfaces; `wireguard` is asked where there is such a device. */
export function readKernel(nl: Netlink, links: readonly Link[], wireguard: () => Wireguard | undefined): KernelReading {
  const own = links.filter(isOwnDevice);
  const devices = new Map(own.map(({ name, index }) => [name, index]));
  const names = new Map(own.map(({ name, index }) => [index, name]));
  const state = emptyState();
  readRoutes(nl, names, state);
  for (const device of own) {
    readDevice(device, state, wireguard);
    const link = device.name;
    for (const { address, prefix } of listAddresses(nl, device.index))
      if (!address.startsWith('fe80:')) put(state.addresses, keyOf.address, { link, address, prefix });
  }
  if (own.some(({ kind }) => kind === 'vxlan'))
    for (const { link: index, address, mac, permanent } of listNeighbours(nl)) {
      const link = names.get(index);
      if (link !== undefined && permanent) put(state.neighbours, keyOf.neighbour, { link, address, mac });
    }
  for (const { name: link, index, kind } of own)
    if (kind === 'vxlan')
      for (const { mac, remote } of listForwarding(nl, index))
        put(state.forwarding, keyOf.forwarding, { link, mac, remote });
  return { state, devices };
}

function readRoutes(nl: Netlink, names: ReadonlyMap<number, string>, state: KernelState): void {
  for (const table of [undefined, encryptedTable])
    for (const { to, via, link, metric, mtu, unreachable } of listRoutes(nl, {
      protocol: fabricProtocol,
      unreachable: true,
      ...(table !== undefined && { table }),
    })) {
      const through = link === undefined ? undefined : names.get(link);
      put(state.routes, ({ metric: there, ...route }) => keyOf.route({ ...route, metric: there ?? 0 }), {
        to,
        ...(via !== undefined && { via }),
        ...(through !== undefined && { link: through }),
        ...(metric !== undefined && { metric }),
        ...(table !== undefined && { table }),
        ...(mtu !== undefined && { mtu }),
        ...(unreachable === true && { unreachable }),
      });
    }
  for (const { from, table } of listRules(nl, fabricProtocol)) put(state.rules, keyOf.rule, { from, table });
}

function readDevice(device: Link, state: KernelState, open: () => Wireguard | undefined): void {
  const { name, index, mtu, up, mac, vxlan } = device;
  if (vxlan !== undefined)
    state.links.set(name, { kind: 'vxlan', name, mtu, up, vxlan, ...(mac !== undefined && { mac }) });
  if (device.kind !== 'wireguard') return;
  const { publicKey, port, peers } = open()?.device(index) ?? { port: 0, peers: [] };
  state.links.set(name, { kind: 'wireguard', name, mtu, up, port, ...(publicKey !== undefined && { publicKey }) });
  for (const { publicKey: key, endpoint, allowed } of peers)
    put(state.wireguardPeers, keyOf.wireguardPeer, {
      link: name,
      publicKey: key,
      allowed,
      ...(endpoint !== undefined && { endpoint: endpoint.address, port: endpoint.port }),
    });
}

function put<T>(map: Map<string, T>, key: (entry: T) => string, entry: T): void {
  map.set(key(entry), entry);
}
