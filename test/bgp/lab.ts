// A network for tests of BGP: nodes with a pod each, joined by a LAN; BIRD in each node; routers beside them.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { type BgpOptions, startBgp } from '../../src/fabric/bgp/start.ts';
import type { FabricCompanion, FabricInput } from '../../src/fabric/kinds.ts';
import { readPeers } from '../../src/fabric/peers.ts';
import { createFakeClient, type FakeClient } from '../../src/k8s/fake-client.ts';
import { defaultNetworkConfig } from '../../src/k8s/network-config.ts';
import { configMaps } from '../../src/k8s/resources.ts';
import type { Node } from '../../src/k8s/types.generated.ts';
import { replaceAddress } from '../../src/linux/addresses.ts';
import { changeLink, createBridge, createVeth, findLink } from '../../src/linux/links.ts';
import { Netlink } from '../../src/linux/netlink.ts';
import { createNamedNetns, deleteNamedNetns, inNetns, netnsPath, sysctl } from '../../src/linux/netns.ts';
import { protocol, replaceRoute } from '../../src/linux/routes.ts';
import { createLog } from '../../src/log/log.ts';
import { asCidr, asIp, type Ip } from '../../src/net/address.ts';

const clusterCidrs = [asCidr('10.244.0.0/16'), asCidr('fd00:244::/48')];

export interface LabNode {
  readonly number: number;
  readonly name: string;
  readonly netns: string;
  readonly pod: string;
  readonly podAddress: Ip;
  readonly runDir: string;
  readonly object: Node;
}

let labs = 0;
const run = `wt-b${process.pid.toString(36)}${Math.floor(Math.random() * 1296).toString(36)}`;

/** Why tests with BIRD are left out, where they are. */
export const birdIsMissing =
  spawnSync('bird', ['--version']).error !== undefined && 'BIRD 2 is not installed: apt-get install bird2';

export class BgpLab implements AsyncDisposable {
  readonly nodes: LabNode[] = [];
  readonly client: FakeClient = createFakeClient();
  readonly root = mkdtempSync('/tmp/wt-bgp-');
  readonly #speakers = new Map<LabNode, FabricCompanion>();
  readonly #namespaces: string[] = [];
  readonly #lan: string;
  readonly #number = labs++;
  readonly #options: Pick<BgpOptions, 'watch'>;

  constructor(options: Pick<BgpOptions, 'watch'> = {}) {
    this.#options = options;
    this.#lan = this.#namespace('lan');
    using nl = Netlink.open(netnsPath(this.#lan));
    createBridge(nl, { name: 'lan', up: true });
  }

  #namespace(suffix: string): string {
    const name = `${run}-${this.#number}${this.#namespaces.length}${suffix}`;
    createNamedNetns(name);
    this.#namespaces.push(name);
    // Looking for duplicates of the addresses takes a second or two.
    for (const which of ['all', 'default']) sysctl(netnsPath(name), `net/ipv6/conf/${which}/accept_dad`, '0');
    using nl = Netlink.open(netnsPath(name));
    changeLink(nl, 1, { up: true });
    return name;
  }

  /** A namespace on the LAN, with these addresses on its eth0 (172.18.0.N/16 and fd18::N/64). */
  #onLan(suffix: string, number: number): string {
    const netns = this.#namespace(suffix);
    using lan = Netlink.open(netnsPath(this.#lan));
    const master = findLink(lan, 'lan')?.index ?? 0;
    createVeth(lan, { name: `n${number}`, master, up: true }, { name: 'eth0', netns: openSync(netnsPath(netns), 'r') });
    for (const key of ['net/ipv4/ip_forward', 'net/ipv6/conf/all/forwarding']) sysctl(netnsPath(netns), key, '1');
    using nl = Netlink.open(netnsPath(netns));
    const link = findLink(nl, 'eth0')?.index ?? 0;
    changeLink(nl, link, { up: true });
    replaceAddress(nl, { link, address: asIp(`172.18.0.${number}`), prefix: 16 });
    replaceAddress(nl, { link, address: asIp(`fd18::${number}`), prefix: 64 });
    return netns;
  }

  /** A node with one pod at 10.244.N.10 (and fd00:244:0:N::a). */
  addNode(labels: Record<string, string> = {}): LabNode {
    const number = this.nodes.length + 2;
    const netns = this.#onLan('n', number);
    const pod = this.#namespace('p');
    using nl = Netlink.open(netnsPath(netns));
    createBridge(nl, { name: 'weft0', up: true });
    const bridge = findLink(nl, 'weft0')?.index ?? 0;
    replaceAddress(nl, { link: bridge, address: asIp(`10.244.${number}.1`), prefix: 24 });
    replaceAddress(nl, { link: bridge, address: asIp(`fd00:244:0:${number}::1`), prefix: 64 });
    createVeth(nl, { name: 'pod', master: bridge, up: true }, { name: 'eth0', netns: openSync(netnsPath(pod), 'r') });
    using inside = Netlink.open(netnsPath(pod));
    const link = findLink(inside, 'eth0')?.index ?? 0;
    changeLink(inside, link, { up: true });
    const podAddress = asIp(`10.244.${number}.10`);
    replaceAddress(inside, { link, address: podAddress, prefix: 24 });
    replaceAddress(inside, { link, address: asIp(`fd00:244:0:${number}::a`), prefix: 64 });
    for (const [to, via] of [
      ['0.0.0.0/0', `10.244.${number}.1`],
      ['::/0', `fd00:244:0:${number}::1`],
    ] as const)
      replaceRoute(inside, { to: asCidr(to), via: asIp(via), protocol: protocol.static });
    const name = `node-${number}`;
    const object: Node = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name, labels },
      spec: { podCIDRs: [`10.244.${number}.0/24`, `fd00:244:0:${number}::/64`] },
      status: {
        addresses: [`172.18.0.${number}`, `fd18::${number}`].map((address) => ({ type: 'InternalIP', address })),
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    };
    const node = { number, name, netns, pod, podAddress, runDir: join(this.root, `n${number}`), object };
    this.nodes.push(node);
    return node;
  }

  /** A router outside of the cluster, at 172.18.0.N, with a network of its own behind it (203.0.113.1/24 on its lo). */
  addRouter(number: number): string {
    const netns = this.#onLan('r', number);
    using nl = Netlink.open(netnsPath(netns));
    replaceAddress(nl, { link: 1, address: asIp('203.0.113.1'), prefix: 24 });
    return netns;
  }

  /** Writes the settings of BGP as users do. */
  async configure(text: string): Promise<void> {
    const metadata = { namespace: 'kube-system', name: 'weft-bgp' };
    const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data: { 'bgp.yaml': text } } as const;
    const known = (await this.client.list(configMaps)).items.length > 0;
    await (known ? this.client.update(configMaps, object) : this.client.create(configMaps, object));
  }

  input(of: LabNode, nodes: readonly LabNode[] = this.nodes): FabricInput {
    const objects = nodes.map(({ object }) => object);
    const context = { nodeName: of.name, clusterCidrs };
    return {
      context,
      config: { ...defaultNetworkConfig, fabric: 'bgp' },
      peers: readPeers(objects, context),
      nodes: objects,
      underlay: { addresses: [] },
    };
  }

  /** Starts the speakers of these nodes, or tells those that run of the nodes. */
  async follow(nodes: readonly LabNode[] = this.nodes): Promise<boolean[]> {
    return Promise.all(
      nodes.map(async (node) => {
        const speaker = this.#speakers.get(node) ?? (await startBgp(this.options(node)));
        this.#speakers.set(node, speaker);
        return speaker.follow(this.input(node, nodes));
      }),
    );
  }

  /** What the speaker of a node is started with. */
  options(node: LabNode): BgpOptions {
    return {
      ...this.#options,
      client: this.client,
      nodeName: node.name,
      clusterCidrs,
      log: createLog('bgp').child({ node: node.name }),
      runDir: node.runDir,
      netns: netnsPath(node.netns),
    };
  }

  /** As when an agent ends. */
  async stop(node: LabNode, options: { remove: boolean }): Promise<void> {
    await this.#speakers.get(node)?.stop(options);
    this.#speakers.delete(node);
  }

  birdPid(node: LabNode): number {
    try {
      return Number(readFileSync(join(node.runDir, 'bird.pid'), 'utf8'));
    } catch {
      return 0;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of [...this.#speakers.keys()]) await this.stop(node, { remove: true });
    await this.client.close();
    for (const name of this.#namespaces) deleteNamedNetns(name);
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** The output of a command in a namespace; throws with its error output when it fails. */
export function runIn(netns: string, command: string, ...args: string[]): string {
  const result = inNetns(netnsPath(netns), () => spawnSync(command, args, { encoding: 'utf8' }));
  if (result.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${result.error?.message ?? result.stderr}`);
  return result.stdout;
}

export function reaches(netns: string, address: string): boolean {
  return inNetns(netnsPath(netns), () => spawnSync('busybox', ['ping', '-c1', '-W1', address])).status === 0;
}

/** Asks again until the answer is yes; throws after `ms`. Returns how long it took, in ms. */
export async function eventually(what: string, ms: number, ask: () => boolean | Promise<boolean>): Promise<number> {
  const start = performance.now();
  while (!(await ask())) {
    if (performance.now() - start > ms) throw new Error(`not within ${ms} ms: ${what}`);
    await delay(50);
  }
  return performance.now() - start;
}
