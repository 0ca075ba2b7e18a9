// The rules of the Kubernetes network model over all pairs of pods and nodes of a lab, for one fabric after the other.
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { startRouterTable } from '../../src/fabric/router-table.ts';
import { type FabricKindName, fabricAnnotation, inPlaceName, routerAnnotation } from '../../src/k8s/network-config.ts';
import { findLink } from '../../src/linux/links.ts';
import { Netlink } from '../../src/linux/netlink.ts';
import { netnsPath } from '../../src/linux/netns.ts';
import { Wireguard, type WireguardPeer } from '../../src/linux/wireguard.ts';
import { createLog } from '../../src/log/log.ts';
import { asCidr } from '../../src/net/address.ts';
import { Lab, type LabNode, routerAddresses, runIn } from '../cni/lab.ts';
import { networkConfig, staticClient } from '../cni/static-client.ts';
import { probe, startServer } from './probe.ts';

process.env.WEFT_LOG ??= 'silent';

export const clusterCidrs = ['10.244.0.0/16', 'fd00:244::/56'];

interface Place {
  readonly name: string;
  readonly netns: string;
  readonly isPod: boolean;
  /** Under which others reach it. */
  readonly addresses: readonly string[];
  /** The MTU of its own link. */
  readonly mtu: number;
}

/** A lab of nodes (four where no other number is given) with a pod each, a server in every pod and node, and a router with its table. */
export class ModelLab implements AsyncDisposable {
  readonly lab = new Lab({ clusterCidrs, unmasqueraded: ['172.18.0.0/15', 'fd18::/64', 'fd19::/64'] });
  readonly pods: Place[] = [];
  readonly #ends: (() => void | Promise<void>)[] = [];
  readonly #segments: number;
  readonly #count: number;
  #data: Record<string, string> & { readonly fabric: FabricKindName };
  #router = '';
  #hasTable = false;

  constructor(segments: 1 | 2, fabric: FabricKindName, more: Record<string, string> = {}, count = 4) {
    this.#count = count;
    this.#segments = segments;
    const routers = Array.from({ length: segments }, (_, index) => routerAddresses(index)).flat();
    this.#data = { fabric, 'router.addresses': routers.join(','), ...more };
  }

  async start(): Promise<void> {
    const { lab } = this;
    for (let index = 1; index <= this.#count; index++)
      lab.addNode([`10.244.${index}.0/24`, `fd00:244:0:${index}::/64`], { segment: index % this.#segments });
    this.#router = lab.addRouter(this.#segments);
    this.#tell();
    await this.#startRouter();
    await lab.start();
    await this.inPlace();
    for (const node of lab.nodes) {
      this.#ends.push((await startServer(node.netns, node.addresses)).stop);
      await this.addPod(node);
    }
  }

  get router(): string {
    return this.#router;
  }

  /** A pod with a server in it. */
  async addPod(node: LabNode): Promise<Place> {
    const { name, path } = this.lab.addPod();
    const { ips } = await this.lab.add(node, name, path);
    const addresses = ips.map(({ address }) => address.split('/')[0] ?? '');
    const server = await startServer(name, addresses);
    this.#ends.push(server.stop);
    const pod = { name: `pod of ${node.name}`, netns: name, isPod: true, addresses, mtu: mtuOf(name, 'eth0') };
    this.pods.push(pod);
    return pod;
  }

  /** Changes to another fabric and waits until every node has it in place. */
  async change(fabric: FabricKindName, more: Record<string, string> = {}): Promise<void> {
    const { 'router.addresses': routers = '' } = this.#data;
    this.#data = { fabric, 'router.addresses': routers, ...more };
    this.#tell();
    await this.inPlace();
  }

  get #encrypted(): boolean {
    return this.#data.encryption === 'wireguard';
  }

  async inPlace(): Promise<void> {
    const { fabric } = this.#data;
    const encrypted = this.#encrypted;
    await until(`${fabric} in place`, () =>
      this.lab.objects.every(({ metadata: { annotations } }) => {
        const takesTunnels = annotations?.[fabricAnnotation.vtep] !== undefined;
        const isInPlace = annotations?.[fabricAnnotation.inPlace] === inPlaceName(fabric, encrypted);
        const hasKey = annotations?.[fabricAnnotation.wireguard] !== undefined;
        return isInPlace && hasKey === encrypted && takesTunnels === (fabric === 'vxlan' && !encrypted);
      }),
    );
    if (encrypted)
      await until('all peers', () => this.lab.nodes.every(({ netns }) => peersOf(netns).length === this.#count - 1));
    if (fabric !== 'vxlan' || encrypted) return;
    // A moment later the last one has heard from the others where their tunnels end.
    const expected = this.#data['vxlan.crossSubnet'] === 'true' ? this.#count / 2 : this.#count - 1;
    await until('all tunnels', () => this.lab.nodes.every(({ netns }) => tunnelsOf(netns) === expected));
  }

  #tell(): void {
    const config = networkConfig(this.#data, this.#hasTable ? { [routerAnnotation]: 'router' } : {});
    this.lab.tellConfig(config);
    this.#client?.setConfig(config);
  }

  #client: ReturnType<typeof staticClient> | undefined;

  async #startRouter(): Promise<void> {
    const client = staticClient(this.lab.objects, (_, __, body) => {
      this.#hasTable = JSON.stringify(body).includes('"router"');
      this.#tell();
    });
    this.#client = client;
    this.#tell();
    this.lab.onAnnotation = (objects) => client.setNodes(objects);
    const log = createLog('router');
    const options = { client, clusterCidrs: clusterCidrs.map(asCidr), netns: netnsPath(this.#router), log };
    const router = await startRouterTable(options);
    this.#ends.push(() => router.stop());
  }

  get #places(): Place[] {
    const nodes = this.lab.nodes.map(
      ({ name, netns, addresses }): Place => ({ name, netns, isPod: false, addresses, mtu: 1500 }),
    );
    return [...nodes, ...this.pods];
  }

  /**
   * Every pod and node reaches every other one by TCP, UDP, a UDP datagram of 64 KB and a ping as large as the way
   * carries, and is seen under an address that it has itself. `pathMtu` is that of the way between two nodes.
   */
  async holdsModel(pathMtu: number): Promise<void> {
    const places = this.#places;
    // What pods say to nodes is encrypted too.
    const isNarrow = (from: Place, to: Place): boolean => to.isPod || (this.#encrypted && from.isPod);
    const failures = await Promise.all(
      places.map(async (from) => {
        const own = ownAddresses(from);
        const targets = places
          .filter((to) => to !== from)
          .flatMap((to) =>
            to.addresses.map((host) => ({
              host,
              mtu: Math.min(from.mtu, to.mtu, isNarrow(from, to) ? pathMtu : 1500),
            })),
          );
        const lines = await probe(from.netns, targets);
        assert.equal(lines.length, targets.length, `${from.name} tried all`);
        return lines.filter((line) => !isRight(line, own)).map((line) => `${from.name} -> ${line}`);
      }),
    );
    assert.deepEqual(failures.flat(), []);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const end of this.#ends.splice(0)) await end();
    await this.lab[Symbol.asyncDispose]();
  }
}

/** `HOST seen seen seen ok`, and every `seen` is an own address. */
function isRight(line: string, own: ReadonlySet<string>): boolean {
  const [, tcp = '', udp = '', large = '', ping] = line.split(' ');
  return [tcp, udp, large].every((seen) => own.has(seen)) && ping === 'ok' && !line.includes('FAILED');
}

/** The addresses that a namespace has on its own links: what the world sees must be one of them. */
function ownAddresses({ netns }: Place): Set<string> {
  const output = runIn(netns, 'ip', '-o', 'address');
  return new Set([...output.matchAll(/inet6? ([^/ ]+)/g)].map(([, address = '']) => address));
}

/** The peers of a node's WireGuard device; none where it has no such device. */
export function peersOf(netns: string): readonly WireguardPeer[] {
  using nl = Netlink.open(netnsPath(netns));
  const link = findLink(nl, 'weft-wg');
  if (link === undefined) return [];
  using wireguard = Wireguard.open(netnsPath(netns));
  return wireguard?.device(link.index).peers ?? [];
}

/** Does as someone would who has `wg` on a node. */
export function changePeers(netns: string, change: (wireguard: Wireguard, link: number) => void): void {
  using nl = Netlink.open(netnsPath(netns));
  using wireguard = Wireguard.open(netnsPath(netns));
  const link = findLink(nl, 'weft-wg');
  if (link === undefined || wireguard === undefined) throw new Error(`${netns} has no WireGuard device`);
  change(wireguard, link.index);
}

/** How many nodes a node reaches through tunnels, by both families; NaN while they differ. */
function tunnelsOf(netns: string): number {
  const [four, six] = [routesOf(netns), runIn(netns, 'ip', '-6', 'route', 'show', 'proto', '118')].map(
    (routes) => routes.match(/dev weft-vxlan/g)?.length ?? 0,
  );
  return four === six ? (four ?? 0) : Number.NaN;
}

/** The fabric's IPv4 routes in a namespace. */
export function routesOf(netns: string): string {
  return runIn(netns, 'ip', 'route', 'show', 'proto', '118');
}

export function mtuOf(netns: string, link: string): number {
  return Number(/mtu (\d+)/.exec(runIn(netns, 'ip', 'link', 'show', link))?.[1]);
}

/** An emulated processor is some ten times slower; what looks often takes it from those that are waited for. */
const [patience, pauseMs] = process.env.WEFT_EMULATED === undefined ? [5_000, 10] : [30_000, 200];

export async function until(what: string, isSo: () => boolean, patienceMs = patience): Promise<void> {
  const end = performance.now() + patienceMs;
  while (!isSo()) {
    if (performance.now() > end) throw new Error(`not within ${patienceMs} ms: ${what}`);
    await sleep(pauseMs);
  }
}
