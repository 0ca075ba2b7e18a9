// Watches what a fabric follows from (Nodes, the network's settings, the kernel) and runs one pass at a time.
import type { Cache, Change, Client } from '../k8s/client.ts';
import {
  defaultNetworkConfig,
  type NetworkConfig,
  networkConfigKey,
  readNetworkConfig,
} from '../k8s/network-config.ts';
import { configMaps, nodes } from '../k8s/resources.ts';
import type { ConfigMap, Node } from '../k8s/types.generated.ts';
import { listAddresses } from '../linux/addresses.ts';
import { listLinks } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import { monitorNetlink, routeGroup } from '../linux/netlink-monitor.ts';
import type { Log } from '../log/log.ts';
import { FabricKernel } from './kernel.ts';
import type { FabricInput } from './kinds.ts';
import { type FabricContext, peerOf, readPeers } from './peers.ts';
import type { FabricProblem } from './plan.ts';
import { wasChanged } from './state.ts';
import { isSurprise } from './surprises.ts';
import { readUnderlay, type Underlay } from './underlay.ts';

/** Events that come together are one pass: this long after the first one, in ms. */
const settleMs = 20;
/** After a refusal by the kernel or by the API server, in ms. */
const retryMs = 2_000;
/** The slow comparison of the kernel with the memory, in ms. */
const auditMs = 300_000;

/** How often the peers of an encrypted cluster, of which the kernel announces nothing, are looked at, in ms. */
const glanceMs = 1_000;

export interface LoopOptions {
  readonly client: Client;
  readonly context: FabricContext;
  /** The namespace whose kernel is written, by its file; the calling process's own where absent. */
  readonly netns?: string;
  readonly log: Log;
}

/** What a pass is given. */
export interface Pass {
  readonly input: FabricInput;
  readonly kernel: FabricKernel;
  /** Whether something in the kernel was changed by someone else since the last pass. */
  readonly surprised: boolean;
  /** What is wrong with the settings. */
  readonly problems: readonly FabricProblem[];
}

/** Does the work; false asks for another try soon. */
export type RunPass = (pass: Pass) => Promise<boolean>;

export class FabricLoop {
  readonly #options: LoopOptions;
  readonly #run: RunPass;
  readonly #nl: Netlink;
  readonly #kernel: FabricKernel;
  readonly #nodes: Cache<Node>;
  readonly #configs: Cache<ConfigMap>;
  readonly #ends: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #running: Promise<void> | undefined;
  #again = false;
  #stopped = false;
  /** The kernel has to be read before the next pass. */
  #unread = true;
  /** It was found to be otherwise than remembered. */
  #surprised = false;
  #underlay: Underlay = { addresses: [] };
  #underlayLinks: ReadonlySet<number> = new Set();
  #config: NetworkConfig | undefined;
  #configProblems: readonly FabricProblem[] = [];

  constructor(options: LoopOptions, run: RunPass) {
    this.#options = options;
    this.#run = run;
    this.#nl = Netlink.open(options.netns);
    this.#kernel = new FabricKernel(this.#nl, options.netns);
    this.#nodes = options.client.cache(nodes);
    const { namespace, name } = networkConfigKey;
    this.#configs = options.client.cache(configMaps, { namespace, fieldSelector: `metadata.name=${name}` });
    this.#ends.push(
      () => this.#nodes.stop(),
      () => this.#configs.stop(),
    );
  }

  /** The node as the API server has it. */
  node(name: string): Node | undefined {
    return this.#nodes.get({ name });
  }

  start(): void {
    const { netns } = this.#options;
    this.#ends.push(
      this.#nodes.subscribe((change) => this.#isReady && concernsFabric(change) && this.#schedule(settleMs)),
      this.#configs.subscribe(() => this.#isReady && this.#schedule(settleMs)),
    );
    // What is left of nodes that went away while the agent was down is pruned only when all Nodes are known.
    Promise.all([this.#nodes.synced, this.#configs.synced]).then(
      () => this.#schedule(0),
      () => {},
    );
    const groups = [
      ...[routeGroup.link, routeGroup.neighbour, routeGroup.ipv4Address, routeGroup.ipv6Address],
      ...[routeGroup.ipv4Route, routeGroup.ipv6Route, routeGroup.ipv4Rule, routeGroup.ipv6Rule],
    ];
    this.#ends.push(
      monitorNetlink({ groups, ...(netns !== undefined && { netns }) }, (event) => {
        const { state, devices } = this.#kernel;
        if (state === undefined || !isSurprise(event, { state, devices, underlay: this.#underlayLinks })) return;
        this.#lookAnew(settleMs);
      }),
    );
    const audit = setInterval(() => this.#lookAnew(0), auditMs).unref();
    const glance = setInterval(() => this.#glance(), glanceMs).unref();
    this.#ends.push(
      () => clearInterval(audit),
      () => clearInterval(glance),
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const end of this.#ends.splice(0).reverse()) end();
    clearTimeout(this.#timer);
    await this.#running;
    this.#kernel.close();
    this.#nl.close();
  }

  get #isReady(): boolean {
    return this.#nodes.isSynced && this.#configs.isSynced;
  }

  #glance(): void {
    try {
      if (this.#unread || !this.#kernel.hasStrangeWireguard()) return;
    } catch (error) {
      // A device that has just gone: that is announced.
      this.#options.log.debug({ err: error }, 'the peers cannot be looked at');
      return;
    }
    this.#surprised = true;
    this.#lookAnew(0);
  }

  #lookAnew(delayMs: number): void {
    this.#unread = true;
    if (this.#isReady) this.#schedule(delayMs);
  }

  #schedule(delayMs: number): void {
    const at = performance.now() + delayMs;
    if (this.#stopped || at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      if (this.#running === undefined) this.#running = this.#passes();
      else this.#again = true;
    }, delayMs);
  }

  async #passes(): Promise<void> {
    do {
      this.#again = false;
      let isDone = false;
      try {
        isDone = await this.#pass();
      } catch (error) {
        this.#options.log.error({ err: error }, 'writing the way to other nodes failed');
        this.#unread = true;
      }
      if (!isDone) this.#schedule(retryMs);
    } while (this.#again && !this.#stopped);
    this.#running = undefined;
  }

  async #pass(): Promise<boolean> {
    this.#readConfig();
    if (this.#config === undefined) return true;
    if (this.#unread) this.#readKernel();
    const surprised = this.#surprised;
    this.#surprised = false;
    const all = this.#nodes.list();
    const { context } = this.#options;
    const input: FabricInput = {
      context,
      config: this.#config,
      nodes: all,
      peers: readPeers(all, context),
      underlay: this.#underlay,
    };
    return this.#run({ input, kernel: this.#kernel, surprised, problems: this.#configProblems });
  }

  #readKernel(): void {
    const links = listLinks(this.#nl);
    const addresses = listAddresses(this.#nl);
    this.#underlay = readUnderlay(links, addresses);
    const own = new Set(this.#underlay.addresses.map(({ address }) => address));
    const present = addresses.filter(({ address }) => own.has(address)).map(({ link }) => link);
    // A link that went down has no place in the underlay any more, and is to be noticed when it comes back.
    this.#underlayLinks = new Set([...this.#underlayLinks, ...present]);
    const remembered = this.#kernel.state;
    this.#kernel.read(links);
    // An announcement that looks like someone else's may be an earlier one of our own: a device that was not up yet.
    const found = this.#kernel.state;
    if (remembered !== undefined && found !== undefined && wasChanged(remembered, found)) this.#surprised = true;
    this.#unread = false;
  }

  /** Settings that went away, or that cannot be read, leave the network as it is. */
  #readConfig(): void {
    const object = this.#configs.get(networkConfigKey);
    if (object === undefined) {
      this.#config ??= defaultNetworkConfig;
      return;
    }
    const { config, problems } = readNetworkConfig(object);
    const owner = `ConfigMap ${networkConfigKey.namespace}/${networkConfigKey.name}`;
    this.#configProblems = problems.map(({ key, reason }) => ({ owner, reason: `${key}: ${reason}` }));
    this.#config = config ?? this.#config;
    if (this.#config === undefined)
      this.#options.log.error({ problems }, 'the settings of the network cannot be followed');
  }
}

/** Heartbeats of nodes change nothing here. */
function concernsFabric(change: Change<Node>): boolean {
  return change.type !== 'updated' || fingerprint(change.object) !== fingerprint(change.old);
}

function fingerprint(node: Node): string {
  const { labels, annotations } = node.metadata;
  return JSON.stringify([peerOf(node), labels, annotations]);
}
